// SPDX-License-Identifier: Apache-2.0
#include "msl/plain.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace metalconv::msl {
namespace {

bool is_specifier(const Token& t) {
  constexpr std::array<std::string_view, 6> kWords = {"const",  "constexpr", "constant",
                                                      "static", "inline",    "volatile"};
  return std::find(kWords.begin(), kWords.end(), t.text) != kWords.end();
}

// Whether a `const` stands in the same run of specifiers as tokens[i].
bool is_const_already(const std::vector<Token>& tokens, std::size_t i) {
  std::size_t first = i;
  while (first > 0 && is_specifier(tokens[first - 1])) --first;
  for (std::size_t k = first; k < tokens.size() && is_specifier(tokens[k]); ++k) {
    if (tokens[k].is("const")) return true;
  }
  return false;
}

bool ends_with_any(std::string_view word, std::string_view letters) {
  return letters.find(word.back()) != std::string_view::npos;
}

// The C++ spelling of one of Metal's floating literals; anything else comes back as it is.
std::string cpp_literal(std::string_view word) {
  const bool hex = word.starts_with("0x") || word.starts_with("0X");
  const auto marks = hex ? std::string_view(".pP") : std::string_view(".eE");
  if (word.find_first_of(marks) == std::string_view::npos) return std::string(word);
  const auto typed = [&](const char* type, std::size_t suffix) {
    return type + ("(" + std::string(word.substr(0, word.size() - suffix))) + "f)";
  };
  if (word.ends_with("bf") || word.ends_with("BF")) return typed("bfloat", 2);
  if (ends_with_any(word, "hH")) return typed("half", 1);
  if (ends_with_any(word, "fF")) return std::string(word);
  return std::string(word) + "f";
}

}  // namespace

void erase_address_spaces(const Program& program, Edits& edits) {
  const auto& tokens = program.source.tokens;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& t = tokens[i];
    if (t.is("device") || t.is("threadgroup") || t.is("thread")) edits.erase(t);
    if (t.is("constant")) edits.replace(t, is_const_already(tokens, i) ? "" : "const");
  }
}

void type_literals(const Program& program, Edits& edits) {
  for (const Token& t : program.source.tokens) {
    if (t.kind != TokenKind::number) continue;
    std::string literal = cpp_literal(t.text);
    if (literal != t.text) edits.replace(t, std::move(literal));
  }
}

void erase_includes(const Program& program, Edits& edits) {
  const auto& tokens = program.source.tokens;
  for (std::size_t i = 2; i < tokens.size(); ++i) {
    if (tokens[i].in_directive && tokens[i - 1].is("include") && tokens[i - 2].is("#")) {
      edits.erase(tokens[i - 2], tokens[i]);
    }
  }
}

void erase_kernel_attributes(const Kernel& kernel, Edits& edits) {
  edits.erase(*kernel.head_first, *kernel.head_last);
  for (const Parameter& p : kernel.parameters) edits.erase(*p.attribute_first, *p.attribute_last);
}

std::string line_directive(const Program& program) {
  return "#line 1 \"" + program.source.files.front() + "\"\n";
}

}  // namespace metalconv::msl
