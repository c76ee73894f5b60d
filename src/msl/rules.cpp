// SPDX-License-Identifier: Apache-2.0
// What a kernel may not say, as far as single words tell. Metal's own prohibitions come first, then
// those of this project's dialect, which keep one text meaning the same on all targets.
#include <algorithm>
#include <array>

#include "msl/program.h"

namespace metalconv::msl {
namespace {

struct WordRule {
  std::string_view word, rule, reason;
};

constexpr std::array kWordRules = std::to_array<WordRule>({
    {"double", "no-double", "Metal has no double"},
    {"goto", "no-goto", "Metal has no goto"},
    {"virtual", "no-virtual", "Metal has no virtual functions"},
    {"throw", "no-exceptions", "Metal has no exceptions"},
    {"try", "no-exceptions", "Metal has no exceptions"},
    {"catch", "no-exceptions", "Metal has no exceptions"},
    {"new", "no-new", "Metal has no new"},
    {"delete", "no-new", "Metal has no delete"},
    {"typeid", "no-rtti", "Metal has no run-time type information"},
    {"dynamic_cast", "no-rtti", "Metal has no run-time type information"},
    {"thread_local", "no-thread-local", "Metal has no thread_local"},
    {"asm", "no-asm", "Metal has no assembly"},
    {"__asm__", "no-asm", "Metal has no assembly"},
    {"std", "no-std", "Metal has no std library: names are in namespace metal"},
    {"function_constant", "function-constant",
     "function constants cannot size arrays: use a macro"},
    {"thread_elements", "no-thread-elements",
     "which elements of a simdgroup_matrix a thread holds is not the same on all devices"},
    {"__METAL__", "target-macro", "kernels do not ask for which target they are compiled"},
    {"__METAL_VERSION__", "target-macro", "kernels do not ask for which target they are compiled"},
    {"__CUDACC__", "target-macro", "kernels do not ask for which target they are compiled"},
    {"__CUDACC_RTC__", "target-macro", "kernels do not ask for which target they are compiled"},
    {"__CUDA_ARCH__", "target-macro", "kernels do not ask for which target they are compiled"},
});

bool is_swizzle(std::string_view word) {
  const auto all_of = [&](std::string_view set) {
    return word.find_first_not_of(set) == std::string_view::npos;
  };
  return word.size() >= 2 && word.size() <= 4 && (all_of("xyzw") || all_of("rgba"));
}

// A '[' that follows none of these begins no subscript, no array and no attribute.
bool takes_subscript(const Token& before) {
  const bool keyword = before.is("return") || before.is("case");
  return (before.kind == TokenKind::identifier && !keyword) || before.is("]") || before.is(")") ||
         before.is("[");
}

class WordRules {
 public:
  explicit WordRules(const LexedSource& source) : source_(source) {}

  void run() {
    for (const Token& t : source_.tokens) {
      if (t.kind == TokenKind::identifier)
        check_word(t);
      else if (t.is("[") && !begins_attribute(t))
        check_lambda(t);
      before_ = &t;
    }
  }

 private:
  const Token& following(const Token& t) const {
    return &t + 1 < source_.tokens.data() + source_.tokens.size() ? *(&t + 1) : t;
  }
  bool begins_attribute(const Token& t) const {
    return &following(t) != &t && following(t).is("[");
  }
  bool behind(std::string_view word) const { return before_ != nullptr && before_->is(word); }

  void check_word(const Token& t) const {
    for (const WordRule& rule : kWordRules) {
      if (t.is(rule.word)) source_.fail(t, rule.rule, std::string(rule.reason));
    }
    if (t.is("long") && behind("long")) {
      source_.fail(t, "no-long-long", "Metal has no long long: long is 64 bits wide");
    }
    if (behind(".") && is_swizzle(t.text)) {
      source_.fail(t, "one-component",
                   "'." + std::string(t.text) + "': name one component, x, y, z or w, at a time");
    }
  }

  void check_lambda(const Token& t) const {
    if (t.in_directive || (before_ != nullptr && takes_subscript(*before_))) return;
    source_.fail(t, "no-lambda", "Metal has no lambda expressions");
  }

  const LexedSource& source_;
  const Token* before_ = nullptr;
};

}  // namespace

void enforce_word_rules(const LexedSource& source) { WordRules(source).run(); }

}  // namespace metalconv::msl
