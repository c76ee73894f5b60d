// SPDX-License-Identifier: Apache-2.0
// The choices that come with the library: data/choices, inside the binary.
#include <vector>

#include "core/embedded.h"
#include "metalconv/wisdom.h"

namespace metalconv {

std::span<const EmbeddedFile> choice_files();  // by CMake

std::span<const Wisdom> shipped_choices() {
  static const std::vector<Wisdom> all = [] {
    std::vector<Wisdom> read;
    for (const EmbeddedFile& file : choice_files()) read.push_back(parse_wisdom(file.text));
    return read;
  }();
  return all;
}

}  // namespace metalconv
