// SPDX-License-Identifier: Apache-2.0
// C++ that clang is to accept exactly when Metal's compiler would: the address spaces stay, as
// distinct ones (msl_check.h).
#include <algorithm>
#include <iterator>
#include <set>

#include "msl/plain.h"

namespace metalconv::msl {
namespace {

bool is_vector_name(std::string_view word) {
  constexpr std::string_view kElements[] = {"float",  "half", "bfloat", "int",  "uint",  "short",
                                            "ushort", "char", "uchar",  "long", "ulong", "bool"};
  if (word.empty() || word.back() < '2' || word.back() > '4') return false;
  word.remove_suffix(1);
  return std::find(std::begin(kElements), std::end(kElements), word) != std::end(kElements);
}

// Clang's vectors, the only types that can be loaded from any address space, know no constructor of
// several components: float4(a, b, c, d) becomes metal::make<float4>(a, b, c, d).
class Constructors {
 public:
  Constructors(const Program& program, Edits& edits)
      : tokens_(program.source.tokens), edits_(edits) {}

  void run() {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (!names_vector(i)) continue;
      const std::size_t last = type_end(i);
      note_alias(i, last);
      if (at(last + 1, "(") && !follows_type_word(i)) wrap(i, last);
    }
  }

 private:
  bool at(std::size_t i, std::string_view word) const {
    return i < tokens_.size() && tokens_[i].is(word);
  }

  bool names_vector(std::size_t i) const {
    const Token& t = tokens_[i];
    if (t.kind != TokenKind::identifier) return false;
    return is_vector_name(t.text) || aliases_.count(t.text) != 0 || (t.is("vec") && at(i + 1, "<"));
  }

  // The last token of the type that begins at i.
  std::size_t type_end(std::size_t i) const {
    if (!at(i + 1, "<")) return i;
    int depth = 0;
    for (std::size_t k = i + 1; k < tokens_.size(); ++k) {
      depth += tokens_[k].is("<");
      depth -= tokens_[k].is(">");
      if (depth == 0) return k;
    }
    return i;
  }

  // typedef TYPE name;   using name = TYPE;
  void note_alias(std::size_t first, std::size_t last) {
    if (first > 0 && at(first - 1, "typedef") && last + 1 < tokens_.size()) {
      aliases_.insert(tokens_[last + 1].text);
    }
    if (first > 2 && at(first - 1, "=") && at(first - 3, "using")) {
      aliases_.insert(tokens_[first - 2].text);
    }
  }

  // In `float4 (*p)` and `operator float4()` the bracket opens no constructor's arguments.
  bool follows_type_word(std::size_t i) const { return i > 0 && at(i - 1, "operator"); }

  void wrap(std::size_t first, std::size_t last) {
    const bool qualified = first > 1 && at(first - 1, "::") && at(first - 2, "metal");
    edits_.insert_before(tokens_[qualified ? first - 2 : first], "metal::make<");
    edits_.insert_after(tokens_[last], ">");
  }

  const std::vector<Token>& tokens_;
  Edits& edits_;
  std::set<std::string_view> aliases_;
};

}  // namespace

Translation to_check(std::string_view source, std::string_view file) {
  const Program program = parse(source, file);
  Edits edits(program.source);
  for (const Kernel& kernel : program.kernels) erase_kernel_attributes(kernel, edits);
  // Clang gives storage of a function an address space only when it is static.
  for (const ThreadgroupStorage& s : program.storage) edits.insert_before(*s.first, "static ");
  Constructors(program, edits).run();
  erase_includes(program, edits);
  type_literals(program, edits);
  std::string text = "#include \"msl_check.h\"\n";
  text += line_directive(program) + edits.apply() + "\n";
  return {std::move(text), program.signatures()};
}

}  // namespace metalconv::msl
