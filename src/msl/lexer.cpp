// SPDX-License-Identifier: Apache-2.0
#include "msl/lexer.h"

#include <cctype>
#include <charconv>

#include "msl/msl.h"

namespace metalconv::msl {
namespace {

bool starts_identifier(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }
bool continues_identifier(char c) { return starts_identifier(c) || is_digit(c); }

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view file) {
    out_.text = source;
    out_.files.emplace_back(file);
  }

  LexedSource run() {
    while (skip_blank()) read_token();
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead = 0) const {
    return at_ + ahead < out_.text.size() ? out_.text[at_ + ahead] : '\0';
  }
  bool done() const { return at_ >= out_.text.size(); }

  [[noreturn]] void fail(int line, const std::string& sentence) const {
    throw SourceError("text", out_.files[file_], line, sentence);
  }

  void advance() {
    if (peek() == '\n') {
      ++line_;
      line_begins_ = true;
      if (!spliced_) leave_directive();
    }
    spliced_ = peek() == '\\' && (peek(1) == '\n' || peek(1) == '\r');
    ++at_;
  }

  void leave_directive() {
    if (in_directive_) apply_line_directive();
    in_directive_ = false;
  }

  // "#line 12" and "#line 12 "name"" count from the line that follows.
  void apply_line_directive() {
    const std::size_t n = out_.tokens.size() - directive_;
    const Token* t = &out_.tokens[directive_];
    if (n < 3 || !t[1].is("line") || t[2].kind != TokenKind::number) return;
    const std::string_view number = t[2].text;
    int line = 0;
    if (std::from_chars(number.begin(), number.end(), line).ec != std::errc()) return;
    line_ = line;
    if (n < 4 || t[3].kind != TokenKind::text) return;
    out_.files.emplace_back(t[3].text.substr(1, t[3].text.size() - 2));
    file_ = int(out_.files.size()) - 1;
  }

  // False at the end of the text.
  bool skip_blank() {
    while (!done()) {
      if (peek() == '/' && peek(1) == '/') {
        while (!done() && peek() != '\n') advance();
      } else if (peek() == '/' && peek(1) == '*') {
        skip_block_comment();
      } else if (std::isspace(static_cast<unsigned char>(peek())) || peek() == '\\') {
        advance();
      } else {
        return true;
      }
    }
    leave_directive();
    return false;
  }

  void skip_block_comment() {
    const int start = line_;
    const std::size_t end = out_.text.find("*/", at_ + 2);
    if (end == std::string_view::npos) fail(start, "a comment begins here and never ends");
    for (; at_ < end + 2; ++at_) line_ += peek() == '\n';
  }

  void read_token() {
    if (line_begins_ && peek() == '#') begin_directive();
    line_begins_ = false;
    const char c = peek();
    if (starts_identifier(c)) return read_identifier();
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return read_number();
    if (c == '"' || c == '\'') return read_quoted(c);
    if (c == '<' && in_include()) return read_quoted('>');
    add(TokenKind::symbol, c == ':' && peek(1) == ':' ? 2 : 1);
  }

  void begin_directive() {
    in_directive_ = true;
    directive_ = out_.tokens.size();
  }

  bool in_include() const {
    return in_directive_ && out_.tokens.size() == directive_ + 2 &&
           out_.tokens.back().is("include");
  }

  void read_identifier() {
    std::size_t n = 1;
    while (continues_identifier(peek(n))) ++n;
    add(TokenKind::identifier, n);
  }

  // A preprocessing number: digits, letters, dots, and a sign behind an exponent's letter.
  void read_number() {
    const bool hex = peek() == '0' && (peek(1) | 0x20) == 'x';
    std::size_t n = 1;
    for (;; ++n) {
      const char previous = char(peek(n - 1) | 0x20);
      const bool sign = (peek(n) == '+' || peek(n) == '-') && previous == (hex ? 'p' : 'e');
      if (!continues_identifier(peek(n)) && peek(n) != '.' && !sign) break;
    }
    add(TokenKind::number, n);
  }

  void read_quoted(char quote) {
    std::size_t n = 1;
    for (; peek(n) != quote; ++n) {
      if (peek(n) == '\\') ++n;
      if (at_ + n >= out_.text.size() || peek(n) == '\n') {
        // An apostrophe in the words of an #error is no string.
        if (in_directive_) return add(TokenKind::symbol, 1);
        fail(line_, "a string begins here and does not end on its line");
      }
    }
    add(TokenKind::text, n + 1);
  }

  void add(TokenKind kind, std::size_t length) {
    out_.tokens.push_back({kind, out_.text.substr(at_, length), file_, line_, in_directive_});
    at_ += length;
    spliced_ = false;
  }

  LexedSource out_;
  std::size_t at_ = 0;
  std::size_t directive_ = 0;  // index of the current directive's '#'
  int file_ = 0;
  int line_ = 1;
  bool line_begins_ = true;
  bool in_directive_ = false;
  bool spliced_ = false;  // the character before was a backslash that continues the line
};

}  // namespace

void LexedSource::fail(const Token& at, std::string_view rule, const std::string& sentence) const {
  throw SourceError(std::string(rule), files[std::size_t(at.file)], at.line, sentence);
}

LexedSource lex(std::string_view source, std::string_view file) {
  return Lexer(source, file).run();
}

SourceError::SourceError(std::string rule, std::string file, int line, const std::string& sentence)
    : Error(ErrorCode::invalid_argument, file + ":" + std::to_string(line) + ": " + sentence),
      rule_(std::move(rule)),
      file_(std::move(file)),
      line_(line) {}

}  // namespace metalconv::msl
