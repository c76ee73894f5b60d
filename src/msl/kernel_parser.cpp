// SPDX-License-Identifier: Apache-2.0
// A kernel's head: its attributes and parameters.
#include <algorithm>
#include <array>

#include "msl/program.h"

namespace metalconv::msl {
namespace {

constexpr std::array<std::string_view, 6> kPositions = {
    "thread_position_in_grid", "threadgroup_position_in_grid", "thread_position_in_threadgroup",
    "threads_per_threadgroup", "threadgroups_per_grid",        "threads_per_grid"};
constexpr std::array<std::string_view, 5> kIndices = {
    "thread_index_in_threadgroup", "thread_index_in_simdgroup", "simdgroup_index_in_threadgroup",
    "simdgroups_per_threadgroup", "threads_per_simdgroup"};
constexpr std::array<std::string_view, 6> kPositionTypes = {"uint",   "uint2",   "uint3",
                                                            "ushort", "ushort2", "ushort3"};
constexpr std::array<std::string_view, 2> kIndexTypes = {"uint", "ushort"};

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string quoted(std::string_view word) { return "'" + std::string(word) + "'"; }

class HeadParser {
 public:
  explicit HeadParser(Cursor& cursor) : c_(cursor) {}

  Kernel run() {
    refuse_prefix();
    read_head();
    read_name();
    read_parameters();
    if (!c_.at("{")) c_.fail("syntax", "expected the body of kernel " + quoted(signature().name));
    return std::move(kernel_);
  }

 private:
  KernelSignature& signature() { return kernel_.signature; }

  void refuse_prefix() {
    const Token* before = c_.previous();
    if (before == nullptr || before->is(";") || before->is("}")) return;
    if (before->is(">")) c_.fail("kernel-template", "a kernel template: specialise by a macro");
    c_.fail("syntax", quoted(before->text) + " before a kernel");
  }

  void read_head() {
    kernel_.head_first = &c_.peek();
    bool is_kernel = false;
    while (c_.at("kernel") || c_.at_attribute()) {
      is_kernel |= c_.at("kernel") ? c_.accept("kernel") : read_head_attributes();
    }
    kernel_.head_last = c_.previous();
    if (!is_kernel) c_.fail("unknown-attribute", "attributes are understood only on kernels");
  }

  // True when they make a kernel of the function.
  bool read_head_attributes() {
    bool is_kernel = false;
    c_.next(), c_.next();
    do {
      const Token& name = c_.expect_name("an attribute");
      if (name.is("kernel"))
        is_kernel = true;
      else if (name.is("max_total_threads_per_threadgroup")) {
        signature().max_total_threads = c_.skip_balanced('(', ')');
      } else {
        refuse_attribute(name);
      }
    } while (c_.accept(","));
    c_.expect("]", "behind an attribute"), c_.expect("]", "behind an attribute");
    return is_kernel;
  }

  [[noreturn]] void refuse_attribute(const Token& name) {
    c_.source().fail(name, "unknown-attribute",
                     "attribute " + quoted(name.text) + " is not understood here");
  }

  void read_name() {
    if (!c_.at("void")) {
      c_.fail("kernel-return", "a kernel returns void, not " + quoted(c_.peek().text));
    }
    c_.next();
    signature().line = c_.peek().line;
    signature().name = c_.expect_name("the kernel's name").text;
  }

  void read_parameters() {
    const Token& open = c_.expect("(", "behind the kernel's name");
    while (!c_.at(")")) {
      read_parameter();
      if (!c_.at(",")) break;
      kernel_.parameters.back().comma = &c_.next();
    }
    refuse_directives(open, c_.expect(")", "behind the kernel's parameters"));
  }

  void refuse_directives(const Token& open, const Token& close) {
    const auto is_directive = [](const Token& t) { return t.in_directive; };
    const Token* found = std::find_if(&open, &close, is_directive);
    if (found == &close) return;
    c_.source().fail(*found, "directive",
                     "a preprocessor line among a kernel's parameters: declare them all, the host "
                     "need not bind those that the macros leave unused");
  }

  void read_parameter() {
    Parameter& parameter = kernel_.parameters.emplace_back();
    parameter.first = &c_.peek();
    while (!c_.done() && !c_.at(",") && !c_.at(")") && !c_.at_attribute()) {
      if (c_.at("<"))
        c_.skip_balanced('<', '>');
      else
        c_.next();
    }
    const Token* last = c_.previous();
    if (!c_.at_attribute()) {
      c_.source().fail(*last, "kernel-parameter",
                       "parameter " + quoted(last->text) +
                           " has no attribute: write [[buffer(n)]] or that of a built-in value");
    }
    read_parameter_attribute(parameter);
    Cursor declaration = c_;
    declaration.rewind(*parameter.first);
    if (parameter.is_builtin)
      read_builtin(declaration, parameter);
    else
      read_buffer(declaration, parameter);
  }

  void read_parameter_attribute(Parameter& parameter) {
    parameter.attribute_first = &c_.next();
    c_.next();
    attribute_ = &c_.expect_name("an attribute");
    parameter.is_builtin =
        contains(kPositions, attribute_->text) || contains(kIndices, attribute_->text);
    if (!parameter.is_builtin) {
      if (!attribute_->is("buffer")) refuse_attribute(*attribute_);
      buffer_index_ = read_buffer_index();
    }
    c_.expect("]", "behind an attribute");
    parameter.attribute_last = &c_.expect("]", "behind an attribute");
  }

  int read_buffer_index() {
    const std::string index = c_.skip_balanced('(', ')');
    const bool is_number =
        !index.empty() && index.size() < 3 && std::all_of(index.begin(), index.end(), ::isdigit);
    if (!is_number || std::stoi(index) > 30) {
      c_.fail("buffer-index", "buffer(" + index + "): the index is a number from 0 to 30");
    }
    return std::stoi(index);
  }

  void read_builtin(Cursor& c, Parameter& parameter) {
    const Token& first = c.peek();
    Builtin builtin;
    builtin.attribute = attribute_->text;
    builtin.type = c.read_type();
    builtin.name = c.expect_name("a parameter's name").text;
    const bool fits = contains(kPositions, builtin.attribute)
                          ? contains(kPositionTypes, builtin.type)
                          : contains(kIndexTypes, builtin.type);
    if (!fits) {
      c.source().fail(first, "builtin-type",
                      quoted(builtin.type) + " is no type for [[" + builtin.attribute +
                          "]]: uint or ushort, for positions also of 2 or 3 components");
    }
    expect_attribute(c);
    parameter.number = int(signature().builtins.size());
    signature().builtins.push_back(std::move(builtin));
  }

  void read_buffer(Cursor& c, Parameter& parameter) {
    Argument argument;
    argument.index = buffer_index_;
    bool has_space = read_qualifiers(c, argument);
    argument.type = c.read_type();
    has_space |= read_qualifiers(c, argument);
    argument.is_reference = c.at("&");
    if (!c.at("*") && !c.at("&")) {
      c.fail("kernel-parameter",
             "a buffer is a pointer or a reference, not a value of type " + quoted(argument.type));
    }
    if (!has_space) {
      c.fail("missing-space", "the address space is missing: device or constant");
    }
    c.next();
    while (c.at("const") || c.at("__restrict") || c.at("__restrict__")) c.next();
    argument.name = c.expect_name("a parameter's name").text;
    expect_attribute(c);
    add_buffer(std::move(argument), parameter);
  }

  // True when an address space is among them.
  bool read_qualifiers(Cursor& c, Argument& argument) {
    bool has_space = false;
    for (;; c.next()) {
      if (c.at("threadgroup") || c.at("thread")) {
        c.fail("kernel-parameter", "a kernel's parameter in the " + std::string(c.peek().text) +
                                       " address space: declare the storage in its body");
      }
      if (c.at("const"))
        argument.is_const = true;
      else if (c.at("device"))
        has_space = true;
      else if (c.at("constant")) {
        argument.space = Space::constant;
        has_space = argument.is_const = true;
      } else if (!c.at("volatile")) {
        return has_space;
      }
    }
  }

  void expect_attribute(Cursor& c) {
    if (!c.at_attribute()) {
      c.fail("kernel-parameter", quoted(c.peek().text) + " in a kernel's parameter");
    }
  }

  void add_buffer(Argument argument, Parameter& parameter) {
    auto& buffers = signature().buffers;
    for (const Argument& other : buffers) {
      if (other.index != argument.index) continue;
      c_.source().fail(*parameter.first, "buffer-index",
                       quoted(other.name) + " and " + quoted(argument.name) + " share buffer(" +
                           std::to_string(argument.index) + ")");
    }
    parameter.number = int(buffers.size());
    buffers.push_back(std::move(argument));
  }

  Cursor& c_;
  Kernel kernel_;
  const Token* attribute_ = nullptr;  // of the parameter being read
  int buffer_index_ = 0;
};

}  // namespace

Kernel parse_kernel_head(Cursor& cursor) { return HeadParser(cursor).run(); }

}  // namespace metalconv::msl
