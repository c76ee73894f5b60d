// SPDX-License-Identifier: Apache-2.0
// Would Metal's compiler take this text? Asked of clang, which knows address spaces, in the
// translation to_check() makes; what Metal forbids and C++ allows is read off clang's syntax tree.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace metalconv::legality {

struct Finding {
  std::string rule;  ///< by name: "address-space", "no-recursion"
  std::string file;
  int line = 0;
  std::string message;
};

using Macros = std::vector<std::pair<std::string, std::string>>;

/// "clang++-16", or a newer one; empty when there is none. METALCONV_CLANG names another.
std::string find_clang();

class Checker {
 public:
  /// Throws Error{io} when there is no place for temporary files.
  explicit Checker(std::string clang);
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  /// Empty when the text is legal with these macros; in the order of the text otherwise.
  std::vector<Finding> check(const std::string& source, const std::string& file,
                             const Macros& macros = {}) const;

 private:
  std::string clang_;
  std::string folder_;
};

}  // namespace metalconv::legality
