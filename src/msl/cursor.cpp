// SPDX-License-Identifier: Apache-2.0
#include <cctype>

#include "msl/program.h"

namespace metalconv::msl {

Cursor::Cursor(const LexedSource& source) : source_(source) {
  for (const Token& t : source.tokens) {
    if (!t.in_directive) tokens_.push_back(&t);
  }
  end_.text = source.text.substr(source.text.size());
  if (!source.tokens.empty()) {
    end_.line = source.tokens.back().line;
    end_.file = source.tokens.back().file;
  }
}

const Token& Cursor::peek(std::size_t ahead) const {
  return at_ + ahead < tokens_.size() ? *tokens_[at_ + ahead] : end_;
}

const Token& Cursor::next() {
  const Token& t = peek();
  if (!done()) ++at_;
  return t;
}

void Cursor::rewind(const Token& to) {
  while (at_ > 0 && &peek() != &to) --at_;
}

bool Cursor::at_attribute() const { return at("[") && peek(1).is("["); }

bool Cursor::accept(std::string_view word) {
  if (!at(word)) return false;
  next();
  return true;
}

const Token& Cursor::expect(std::string_view word, std::string_view where) {
  if (!at(word)) {
    fail("syntax", "expected '" + std::string(word) + "' " + std::string(where) + ", found '" +
                       std::string(peek().text) + "'");
  }
  return next();
}

const Token& Cursor::expect_name(std::string_view what) {
  if (peek().kind != TokenKind::identifier) {
    fail("syntax", "expected " + std::string(what) + ", found '" + std::string(peek().text) + "'");
  }
  return next();
}

std::string Cursor::skip_balanced(char open, char close) {
  const Token& first = peek();
  int depth = 0;
  while (!done()) {
    const Token& t = next();
    if (t.kind != TokenKind::symbol) continue;
    if (t.text[0] == open) ++depth;
    if (t.text[0] == close && --depth == 0) {
      return std::string(
          source_.text.substr(source_.end(first), source_.begin(t) - source_.end(first)));
    }
  }
  source_.fail(first, "syntax", std::string("'") + open + "' has no '" + close + "'");
}

std::string Cursor::read_type() {
  const Token& first = peek();
  if (first.kind != TokenKind::identifier) return {};
  const auto is_multiword = [](const Token& t) { return t.is("unsigned") || t.is("signed"); };
  const bool two_words =
      is_multiword(next()) && (at("int") || at("short") || at("char") || at("long"));
  if (two_words) next();
  while (at("::")) {
    next();
    expect_name("a name behind '::'");
  }
  if (at("<")) skip_balanced('<', '>');
  return text(first, *previous());
}

std::string Cursor::text(const Token& from, const Token& to) const {
  std::string out;
  const auto whole =
      source_.text.substr(source_.begin(from), source_.end(to) - source_.begin(from));
  for (const char c : whole) {
    if (!std::isspace(static_cast<unsigned char>(c)))
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  return out;
}

void Cursor::fail(std::string_view rule, const std::string& sentence) const {
  source_.fail(peek(), rule, sentence);
}

}  // namespace metalconv::msl
