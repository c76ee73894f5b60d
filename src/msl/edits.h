// SPDX-License-Identifier: Apache-2.0
// Replacements in a text that keep every line where it was.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "msl/lexer.h"

namespace metalconv::msl {

class Edits {
 public:
  explicit Edits(const LexedSource& source) : source_(source) {}

  void replace(const Token& from, const Token& to, std::string text);  ///< both included
  void replace(const Token& token, std::string text) { replace(token, token, std::move(text)); }
  void erase(const Token& token) { replace(token, {}); }
  void erase(const Token& from, const Token& to) { replace(from, to, {}); }
  void insert_before(const Token&, std::string text);
  void insert_after(const Token&, std::string text);

  /// Line breaks inside a replaced range are kept behind its new text, which holds none.
  /// Where two overlap, the one that begins first, or was asked for first, covers the other.
  std::string apply();

 private:
  struct Edit {
    std::size_t begin, end;
    std::string text;
  };
  const LexedSource& source_;
  std::vector<Edit> edits_;
};

}  // namespace metalconv::msl
