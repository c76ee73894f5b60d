// SPDX-License-Identifier: Apache-2.0
#include "msl/program.h"

#include <algorithm>
#include <utility>

namespace metalconv::msl {
namespace {

// The rules for preprocessor lines: what they hide, the passes below would miss.
class DirectiveRules {
 public:
  explicit DirectiveRules(const LexedSource& source) : source_(source) {}

  void run() {
    const auto& tokens = source_.tokens;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (!tokens[i].in_directive)
        count_braces(tokens[i]);
      else if (tokens[i].is("#") && i + 1 < tokens.size())
        check_line(i);
      else
        check_word(tokens[i]);
    }
  }

 private:
  void count_braces(const Token& t) {
    depth_ += t.is("{") || t.is("(");
    depth_ -= t.is("}") || t.is(")");
  }

  void check_line(std::size_t i) {
    const Token& name = source_.tokens[i + 1];
    if (name.is("include")) check_include(i);
    if (name.is("if") || name.is("ifdef") || name.is("ifndef"))
      depth_at_if_.push_back(depth_);
    else if (name.is("elif") || name.is("else") || name.is("endif"))
      check_branch(name);
  }

  void check_include(std::size_t i) {
    if (i + 2 >= source_.tokens.size()) return;
    const Token& file = source_.tokens[i + 2];
    if (file.text.starts_with("<metal_")) return;
    const bool local = file.text.starts_with('"');
    source_.fail(file, local ? "include" : "std-header",
                 local ? std::string(file.text) + " is still an #include: inline it first"
                       : std::string(file.text) + ": Metal has no headers but <metal_...>");
  }

  // Brackets are counted along the text, so every branch of an #if must close what it opens.
  void check_branch(const Token& name) {
    if (depth_at_if_.empty()) source_.fail(name, "directive", "no #if before this line");
    if (depth_ != depth_at_if_.back()) {
      source_.fail(name, "directive",
                   "brackets that are opened in a branch of an #if must be closed in it");
    }
    if (name.is("endif")) depth_at_if_.pop_back();
  }

  void check_word(const Token& t) {
    if (!t.is("threadgroup") && !t.is("kernel")) return;
    source_.fail(t, "directive", "'" + std::string(t.text) + "' hidden in a macro");
  }

  const LexedSource& source_;
  std::vector<int> depth_at_if_;
  int depth_ = 0;
};

class Parser {
 public:
  explicit Parser(const LexedSource& source) : c_(source) {}

  void run(Program& out) {
    out_ = &out;
    while (!c_.done()) step();
    if (depth_ != 0) c_.fail("syntax", "a '{' without its '}'");
  }

 private:
  void step() {
    if (c_.at("kernel") || c_.at_attribute()) return begin_kernel();
    if (c_.at("threadgroup")) return read_threadgroup();
    if (c_.at("constant") && depth_ == 0 && parentheses_ == 0) return read_constant();
    const Token& t = c_.next();
    if (t.is("{"))
      ++depth_;
    else if (t.is("}"))
      close_brace(t);
    else if (t.is("("))
      ++parentheses_;
    else if (t.is(")"))
      --parentheses_;
  }

  void begin_kernel() {
    if (depth_ != 0) {
      if (!c_.at("kernel")) c_.fail("unknown-attribute", "an attribute inside a body");
      c_.fail("syntax", "a kernel inside braces: kernels stand at program scope");
    }
    Kernel kernel = parse_kernel_head(c_);
    kernel.open_brace = &c_.next();
    for (const Kernel& other : out_->kernels) {
      if (other.signature.name != kernel.signature.name) continue;
      c_.source().fail(*kernel.head_first, "syntax",
                       "a second kernel '" + kernel.signature.name + "' in one text");
    }
    out_->kernels.push_back(std::move(kernel));
    in_kernel_ = true;
    depth_ = 1;
  }

  void close_brace(const Token& t) {
    if (--depth_ < 0) c_.source().fail(t, "syntax", "a '}' without its '{'");
    if (depth_ == 0 && std::exchange(in_kernel_, false)) out_->kernels.back().close_brace = &t;
  }

  // A declaration of storage, or the address space of a pointer or reference.
  void read_threadgroup() {
    ThreadgroupStorage storage;
    storage.first = &c_.next();
    while (c_.at("const") || c_.at("volatile")) c_.next();
    storage.type = c_.read_type();
    if (c_.at("*") || c_.at("&") || c_.at("(")) return;
    if (c_.peek().kind != TokenKind::identifier) {
      c_.fail("syntax", "'threadgroup' stands before the type it belongs to");
    }
    if (!in_kernel_) {
      c_.source().fail(*storage.first, "threadgroup-scope",
                       "threadgroup storage outside a kernel's body");
    }
    read_variables(storage);
    add_bytes(storage);
    out_->storage.push_back(std::move(storage));
  }

  void read_variables(ThreadgroupStorage& storage) {
    do {
      auto& variable = storage.variables.emplace_back();
      variable.name = c_.expect_name("the name of threadgroup storage").text;
      while (c_.at("[")) variable.dimensions += "[" + c_.skip_balanced('[', ']') + "]";
      if (c_.at("=") || c_.at("{") || c_.at("(")) {
        c_.fail("threadgroup-initialiser", "threadgroup storage '" + variable.name +
                                               "' has an initialiser: assign in the body");
      }
    } while (c_.accept(","));
    storage.last = &c_.expect(";", "behind threadgroup storage");
  }

  void add_bytes(const ThreadgroupStorage& storage) {
    std::string& bytes = out_->kernels.back().signature.threadgroup_bytes;
    for (const auto& variable : storage.variables) {
      if (!bytes.empty()) bytes += " + ";
      bytes += "sizeof(" + storage.type + variable.dimensions + ")";
    }
  }

  void read_constant() {
    const Token& word = c_.next();
    while (c_.at("const") || c_.at("constexpr")) c_.next();
    if (c_.read_type().empty() || c_.peek().kind != TokenKind::identifier) return;
    const Token& name = c_.next();
    if (c_.at_attribute()) {
      c_.fail("function-constant",
              "'" + std::string(name.text) + "' is a function constant: use a macro");
    }
    out_->constants.push_back(&word);
  }

  Cursor c_;
  Program* out_ = nullptr;
  int depth_ = 0;
  int parentheses_ = 0;
  bool in_kernel_ = false;
};

}  // namespace

std::vector<KernelSignature> Program::signatures() const {
  std::vector<KernelSignature> out;
  for (const Kernel& kernel : kernels) out.push_back(kernel.signature);
  return out;
}

Program parse(std::string_view source, std::string_view file) {
  Program program;
  program.source = lex(source, file);
  enforce_word_rules(program.source);
  DirectiveRules(program.source).run();
  Parser(program.source).run(program);
  return program;
}

}  // namespace metalconv::msl
