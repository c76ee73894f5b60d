// SPDX-License-Identifier: Apache-2.0
// Names of the enumerations, and the text form of a ConvProblem.
#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <utility>
#include <vector>

#include "metalconv/error.h"
#include "metalconv/plan.h"
#include "metalconv/problem.h"

namespace metalconv {
namespace {

using std::int64_t;
using std::string_view;

template <class Enum>
using Names = std::vector<std::pair<Enum, string_view>>;

const Names<DType>& names(DType) {
  static const Names<DType> table{{DType::f32, "f32"}, {DType::f16, "f16"}, {DType::bf16, "bf16"}};
  return table;
}
const Names<Precision>& names(Precision) {
  static const Names<Precision> table{{Precision::ieee, "ieee"}, {Precision::tf32, "tf32"}};
  return table;
}
const Names<Layout>& names(Layout) {
  static const Names<Layout> table{{Layout::nchw, "nchw"}, {Layout::nhwc, "nhwc"}};
  return table;
}
const Names<Activation>& names(Activation) {
  static const Names<Activation> table{{Activation::none, "none"},
                                       {Activation::relu, "relu"},
                                       {Activation::relu6, "relu6"},
                                       {Activation::silu, "silu"}};
  return table;
}
const Names<Implementation>& names(Implementation) {
  static const Names<Implementation> table{{Implementation::basic, "basic"},
                                           {Implementation::optimized, "optimized"},
                                           {Implementation::vendor, "vendor"}};
  return table;
}

template <class Enum>
string_view name_of(Enum value) {
  for (const auto& [candidate, name] : names(value))
    if (candidate == value) return name;
  return "?";
}

template <class Enum>
bool lookup(string_view text, Enum* value) {
  for (const auto& [candidate, name] : names(Enum{}))
    if (name == text) return *value = candidate, true;
  return false;
}

template <class Enum>
Enum parse_name(const char* what, string_view text) {
  Enum value;
  if (lookup(text, &value)) return value;
  std::string known;
  for (const auto& entry : names(Enum{}))
    fmt::format_to(std::back_inserter(known), "{}{}", known.empty() ? "" : ", ", entry.second);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} is '{}', but must be one of {}", what, text, known));
}

[[noreturn]] void fail(string_view text, string_view part, string_view rule) {
  throw Error(ErrorCode::invalid_argument, fmt::format("problem '{}': '{}' {}", text, part, rule));
}

std::vector<string_view> split(string_view text, char separator) {
  std::vector<string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// The numbers of "3x3". Fails unless there are between `least` and `most` of them.
std::vector<int64_t> numbers(string_view text, string_view part, string_view digits,
                             string_view rule, std::size_t least, std::size_t most) {
  std::vector<int64_t> values;
  for (string_view piece : split(digits, 'x')) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(piece.data(), piece.data() + piece.size(), value);
    if (error == std::errc::result_out_of_range) fail(text, part, "has a number over 64 bits");
    if (error != std::errc() || end != piece.data() + piece.size()) fail(text, part, rule);
    values.push_back(value);
  }
  if (values.size() < least || values.size() > most) fail(text, part, rule);
  return values;
}

void parse_pair(string_view text, string_view part, string_view rule, int64_t* h, int64_t* w) {
  const auto v = numbers(text, part, part.substr(1), rule, 1, 2);
  *h = v.front();
  *w = v.back();
}

void parse_padding(string_view text, string_view part, ConvProblem* problem) {
  const char* rule = "must be p with 1, 2 (h x w) or 4 (top x left x bottom x right) numbers";
  const auto v = numbers(text, part, part.substr(1), rule, 1, 4);
  if (v.size() == 3) fail(text, part, rule);
  problem->pad_top = v[0];
  problem->pad_left = v.size() > 1 ? v[1] : v[0];
  problem->pad_bottom = v.size() == 4 ? v[2] : problem->pad_top;
  problem->pad_right = v.size() == 4 ? v[3] : problem->pad_left;
}

/// One of the parts that may come in any order.
void parse_option(string_view text, string_view part, ConvProblem* problem) {
  if (lookup(part, &problem->dtype) || lookup(part, &problem->precision) ||
      lookup(part, &problem->layout) || lookup(part, &problem->activation))
    return;
  if (part == "bias") {
    problem->bias = true;
    return;
  }
  switch (part.empty() ? '\0' : part.front()) {
    case 's':
      return parse_pair(text, part, "must be s with 1 or 2 numbers", &problem->stride_h,
                        &problem->stride_w);
    case 'd':
      return parse_pair(text, part, "must be d with 1 or 2 numbers", &problem->dilation_h,
                        &problem->dilation_w);
    case 'p':
      return parse_padding(text, part, problem);
    case 'g':
      problem->groups = numbers(text, part, part.substr(1), "must be g with 1 number", 1, 1)[0];
      return;
    default:
      fail(text, part,
           "is not an option: s1, p1, d1, g1, f32, f16, bf16, nchw, nhwc, tf32, bias, relu, relu6, "
           "silu");
  }
}

/// What an option sets: twice the same is a mistake, not a choice.
string_view option_kind(string_view part) {
  DType dtype;
  Precision precision;
  Layout layout;
  Activation activation;
  if (lookup(part, &dtype)) return "dtype";
  if (lookup(part, &precision)) return "precision";
  if (lookup(part, &layout)) return "layout";
  if (lookup(part, &activation)) return "activation";
  if (part == "bias") return "bias";
  return part.substr(0, 1);
}

std::string pair_text(char letter, int64_t h, int64_t w) {
  return h == w ? fmt::format("{}{}", letter, h) : fmt::format("{}{}x{}", letter, h, w);
}

std::string padding_text(const ConvProblem& c) {
  if (c.pad_top == c.pad_bottom && c.pad_left == c.pad_right)
    return pair_text('p', c.pad_top, c.pad_left);
  return fmt::format("p{}x{}x{}x{}", c.pad_top, c.pad_left, c.pad_bottom, c.pad_right);
}

}  // namespace

string_view to_string(DType v) { return name_of(v); }
string_view to_string(Precision v) { return name_of(v); }
string_view to_string(Layout v) { return name_of(v); }
string_view to_string(Activation v) { return name_of(v); }
string_view to_string(Implementation v) { return name_of(v); }

DType parse_dtype(string_view text) { return parse_name<DType>("dtype", text); }
Precision parse_precision(string_view text) { return parse_name<Precision>("precision", text); }
Layout parse_layout(string_view text) { return parse_name<Layout>("layout", text); }
Activation parse_activation(string_view text) { return parse_name<Activation>("activation", text); }
Implementation parse_implementation(string_view text) {
  return parse_name<Implementation>("implementation", text);
}

ConvProblem parse_problem(string_view text) {
  const auto parts = split(text, ',');
  if (parts.size() < 3)
    fail(text, text, "must begin with NxCxHxW,kK,RxS, as in 1x3x600x800,k64,3x3");
  ConvProblem problem;
  const auto x = numbers(text, parts[0], parts[0], "must be NxCxHxW, four numbers", 4, 4);
  problem.N = x[0], problem.C = x[1], problem.H = x[2], problem.W = x[3];
  if (parts[1].empty() || parts[1].front() != 'k')
    fail(text, parts[1], "must be k with the number of output channels, as in k64");
  problem.K = numbers(text, parts[1], parts[1].substr(1), "must be k with 1 number", 1, 1)[0];
  const auto kernel = numbers(text, parts[2], parts[2], "must be RxS, as in 3x3", 2, 2);
  problem.R = kernel[0], problem.S = kernel[1];
  std::vector<string_view> seen;
  for (std::size_t i = 3; i < parts.size(); ++i) {
    parse_option(text, parts[i], &problem);
    for (string_view kind : seen)
      if (kind == option_kind(parts[i])) fail(text, parts[i], "sets what an earlier part set");
    seen.push_back(option_kind(parts[i]));
  }
  try {
    problem.validate();
  } catch (const Error& e) {
    throw Error(e.code(), fmt::format("problem '{}': {}", text, e.what()));
  }
  return problem;
}

std::string to_text(const ConvProblem& c) {
  std::string text = fmt::format("{}x{}x{}x{},k{},{}x{},{},{},{},g{},{},{}", c.N, c.C, c.H, c.W,
                                 c.K, c.R, c.S, pair_text('s', c.stride_h, c.stride_w),
                                 padding_text(c), pair_text('d', c.dilation_h, c.dilation_w),
                                 c.groups, to_string(c.dtype), to_string(c.layout));
  if (c.precision != Precision::ieee) text += ",tf32";
  if (c.bias) text += ",bias";
  if (c.activation != Activation::none)
    fmt::format_to(std::back_inserter(text), ",{}", to_string(c.activation));
  return text;
}

}  // namespace metalconv
