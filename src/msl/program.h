// SPDX-License-Identifier: Apache-2.0
// What the emitters need to know of a .metal text: its kernels, its threadgroup storage, its
// program-scope constants. Everything else passes through them untouched.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "msl/lexer.h"
#include "msl/msl.h"

namespace metalconv::msl {

struct Parameter {
  const Token* first = nullptr;  // of the declaration
  const Token* attribute_first = nullptr;
  const Token* attribute_last = nullptr;  // the last token of the parameter
  const Token* comma = nullptr;           // the one that follows, if any
  bool is_builtin = false;
  int number = 0;  // into KernelSignature::builtins or ::buffers
};

struct Kernel {
  KernelSignature signature;
  std::vector<Parameter> parameters;
  const Token* head_first = nullptr;  // [[ or kernel
  const Token* head_last = nullptr;   // the last token before `void`
  const Token* open_brace = nullptr;
  const Token* close_brace = nullptr;
};

/// `threadgroup float a[4], b;`
struct ThreadgroupStorage {
  struct Variable {
    std::string name, dimensions;  // "a", "[4]"
  };
  const Token* first = nullptr;
  const Token* last = nullptr;  // the semicolon
  std::string type;
  std::vector<Variable> variables;
};

struct Program {
  LexedSource source;
  std::vector<Kernel> kernels;
  std::vector<ThreadgroupStorage> storage;
  std::vector<const Token*> constants;  // the word `constant` of each program-scope constant

  std::vector<KernelSignature> signatures() const;
};

/// Throws SourceError for what breaks a rule or is not understood.
Program parse(std::string_view source, std::string_view file);

/// The rules that can be read off single words (rules.cpp).
void enforce_word_rules(const LexedSource&);

/// A walk over the tokens that are not of preprocessor lines.
class Cursor {
 public:
  explicit Cursor(const LexedSource& source);

  bool done() const { return at_ >= tokens_.size(); }
  const Token& peek(std::size_t ahead = 0) const;  // an empty token beyond the end
  const Token* previous() const { return at_ == 0 ? nullptr : tokens_[at_ - 1]; }
  const Token& next();
  void rewind(const Token& to);  // to a token that was passed
  bool at(std::string_view word) const { return peek().is(word); }
  bool at_attribute() const;
  bool accept(std::string_view word);
  const Token& expect(std::string_view word, std::string_view where);
  const Token& expect_name(std::string_view what);
  /// From `open` to its partner, both included; the text between them.
  std::string skip_balanced(char open, char close);
  /// A type without qualifiers: "unsigned int", "metal::vec<elem, 4>"; empty when there is none.
  std::string read_type();
  /// The text of tokens, one blank where there was any.
  std::string text(const Token& from, const Token& to) const;
  [[noreturn]] void fail(std::string_view rule, const std::string& sentence) const;
  const LexedSource& source() const { return source_; }

 private:
  const LexedSource& source_;
  std::vector<const Token*> tokens_;
  Token end_;
  std::size_t at_ = 0;
};

/// The kernel whose head begins at the cursor, which is left at its '{' (kernel_parser.cpp).
Kernel parse_kernel_head(Cursor&);

}  // namespace metalconv::msl
