// SPDX-License-Identifier: Apache-2.0
// Text to tokens. Comments vanish; preprocessor lines are kept and marked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace metalconv::msl {

enum class TokenKind {
  identifier,  ///< keywords, too
  number,
  text,    ///< a string, a character, or the <name> of an #include
  symbol,  ///< one character, or "::"
};

struct Token {
  TokenKind kind = TokenKind::symbol;
  std::string_view text;      // into LexedSource::text
  int file = 0;               // into LexedSource::files: #line may change it
  int line = 0;               // as #line counts
  bool in_directive = false;  // of a preprocessor line; the first token of each is its '#'

  bool is(std::string_view word) const { return text == word; }
};

struct LexedSource {
  std::string_view text;  // must outlive the tokens
  std::vector<std::string> files;
  std::vector<Token> tokens;

  std::size_t begin(const Token& t) const { return std::size_t(t.text.data() - text.data()); }
  std::size_t end(const Token& t) const { return begin(t) + t.text.size(); }
  [[noreturn]] void fail(const Token& at, std::string_view rule, const std::string& sentence) const;
};

/// Throws SourceError for a comment or a string without an end.
LexedSource lex(std::string_view source, std::string_view file);

}  // namespace metalconv::msl
