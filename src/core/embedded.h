// SPDX-License-Identifier: Apache-2.0
// Files that travel inside the binary (cmake/Embed.cmake makes the functions that return them).
#pragma once

#include <string_view>

namespace metalconv {

struct EmbeddedFile {
  std::string_view name;  ///< without a folder, as an #include names it
  std::string_view text;
};

}  // namespace metalconv
