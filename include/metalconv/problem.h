// SPDX-License-Identifier: Apache-2.0
// ConvProblem: what to compute, and its text form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// 2-D convolution on Metal, CUDA and CPUs: make_plan, Plan, Device, ConvProblem.
namespace metalconv {

/// Storage type of x, w, bias and y. Accumulation is always f32.
enum class DType { f32, f16, bf16 };
/// `tf32` allows the multiplier to round f32 inputs to 10 mantissa bits.
enum class Precision { ieee, tf32 };
/// Memory order of x and y. Weights are K, C/groups, R, S in either.
enum class Layout { nchw, nhwc };
/// What is applied to a sum: max(v, 0); the same, at most 6; v / (1 + exp(-v)). NaN passes.
enum class Activation { none, relu, relu6, silu };

/// "f32", "f16", "bf16".
std::string_view to_string(DType);
/// "ieee", "tf32".
std::string_view to_string(Precision);
/// "nchw", "nhwc".
std::string_view to_string(Layout);
/// "none", "relu", "relu6", "silu".
std::string_view to_string(Activation);
/// Bytes of one element.
std::size_t size_of(DType);
/// Parse the names that to_string gives. Throws Error{invalid_argument} that lists the names.
DType parse_dtype(std::string_view);
/// Likewise.
Precision parse_precision(std::string_view);
/// Likewise.
Layout parse_layout(std::string_view);
/// Likewise.
Activation parse_activation(std::string_view);

/// A 2-D convolution (cross-correlation, as every framework means it):
///
///   y[n,k,p,q] = act(b[k] + sum_{c,r,s} x[n, c, p*stride_h - pad_top + r*dilation_h,
///                                            q*stride_w - pad_left + s*dilation_w] * w[k,c,r,s])
///
/// where c runs over the C/groups input channels of k's group and x is 0 outside its H x W.
/// All sizes count elements and are 64-bit; products are checked.
struct ConvProblem {
  std::int64_t N = 1;                     ///< batch
  std::int64_t C = 1;                     ///< input channels
  std::int64_t H = 1;                     ///< input rows
  std::int64_t W = 1;                     ///< input columns
  std::int64_t K = 1;                     ///< output channels
  std::int64_t R = 1;                     ///< kernel rows
  std::int64_t S = 1;                     ///< kernel columns
  std::int64_t stride_h = 1;              ///< rows of x from one output row to the next
  std::int64_t stride_w = 1;              ///< columns, likewise
  std::int64_t pad_top = 0;               ///< rows of zeros above x
  std::int64_t pad_left = 0;              ///< columns of zeros on its left
  std::int64_t pad_bottom = 0;            ///< rows of zeros below it
  std::int64_t pad_right = 0;             ///< columns of zeros on its right
  std::int64_t dilation_h = 1;            ///< rows of x from one kernel row to the next
  std::int64_t dilation_w = 1;            ///< columns, likewise
  std::int64_t groups = 1;                ///< divides C and K
  DType dtype = DType::f32;               ///< of x, w, bias and y
  Precision precision = Precision::ieee;  ///< of f32 products
  Layout layout = Layout::nchw;           ///< of x and y
  bool bias = false;  ///< a K-element bias of `dtype` is added before the activation
  Activation activation = Activation::none;  ///< after the bias

  /// Equal in every field.
  bool operator==(const ConvProblem&) const = default;

  /// Throws Error{invalid_argument} or Error{too_large} with a sentence that names the field, its
  /// value and the rule. N = 0 is valid and gives an empty output. Everything below assumes a
  /// valid problem.
  void validate() const;

  /// Output rows: floor((H + pad_top + pad_bottom - dilation_h (R - 1) - 1) / stride_h) + 1.
  std::int64_t P() const;
  /// Output columns, likewise.
  std::int64_t Q() const;

  /// Input channels that one output channel sees.
  std::int64_t C_per_group() const { return C / groups; }
  /// Output channels of a group.
  std::int64_t K_per_group() const { return K / groups; }

  /// N C H W.
  std::int64_t x_elements() const { return N * C * H * W; }
  /// K (C/groups) R S.
  std::int64_t w_elements() const { return K * (C / groups) * R * S; }
  /// N K P Q.
  std::int64_t y_elements() const { return N * K * P() * Q(); }

  /// The same in bytes.
  std::int64_t x_bytes() const { return x_elements() * std::int64_t(size_of(dtype)); }
  /// The same in bytes.
  std::int64_t w_bytes() const { return w_elements() * std::int64_t(size_of(dtype)); }
  /// The same in bytes.
  std::int64_t y_bytes() const { return y_elements() * std::int64_t(size_of(dtype)); }

  /// Operations of the direct sum, 2 N K P Q (C/groups) R S: taps on the padding are counted.
  double flops() const;
  /// The fewest bytes that must move: x and w read once, bias, y written once.
  double min_bytes() const;
};

/// Parse a problem text: `NxCxHxW,kK,RxS`, then in any order s, p, d, g, a dtype, a layout, `tf32`,
/// `bias`, an activation; for instance `1x3x1080x1920,k64,3x3,s1,p1,d1,g1,f32,nchw`. s and d take 1
/// or 2 numbers joined by x (h x w), p takes 1, 2 (h x w) or 4 (top x left x bottom x right).
/// The result is validated. Throws Error{invalid_argument} naming the part that is wrong.
ConvProblem parse_problem(std::string_view text);

/// The problem's text; parse_problem gives the same problem back.
std::string to_text(const ConvProblem&);

}  // namespace metalconv
