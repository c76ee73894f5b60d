// SPDX-License-Identifier: Apache-2.0
// The arithmetic and the rules of a ConvProblem. Its text form is in problem_text.cpp.
#include "metalconv/problem.h"

#include <fmt/format.h>

#include <optional>

#include "metalconv/error.h"

namespace metalconv {
namespace {

using std::int64_t;

std::optional<int64_t> checked_mul(std::optional<int64_t> a, int64_t b) {
  int64_t r;
  if (!a || __builtin_mul_overflow(*a, b, &r)) return std::nullopt;
  return r;
}

std::optional<int64_t> checked_add(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t r;
  if (!a || !b || __builtin_add_overflow(*a, *b, &r)) return std::nullopt;
  return r;
}

void require_at_least(const char* name, int64_t value, int64_t least) {
  if (value < least)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} is {}, but must be at least {}", name, value, least));
}

/// Positions of a kernel of `taps` taps along one axis. Checks the rules of that axis.
int64_t checked_output_size(const char* axis, const char* kernel_axis, int64_t size, int64_t taps,
                            int64_t stride, int64_t pad_before, int64_t pad_after,
                            int64_t dilation) {
  const auto padded = checked_add(checked_add(size, pad_before), pad_after);
  const auto extent = checked_add(checked_mul(dilation, taps - 1), 1);
  if (!padded || !extent)
    throw Error(ErrorCode::too_large,
                fmt::format("{} = {} with padding {} and {}, {} = {} and dilation {} overflows 64 "
                            "bits",
                            axis, size, pad_before, pad_after, kernel_axis, taps, dilation));
  if (*extent > *padded)
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("{} = {} with dilation {} spans {} elements, but must not exceed the "
                    "padded input, {} + {} + {} = {}",
                    kernel_axis, taps, dilation, *extent, size, pad_before, pad_after, *padded));
  return (*padded - *extent) / stride + 1;
}

void require_size(const char* tensor, std::optional<int64_t> elements, DType dtype) {
  if (!checked_mul(elements, int64_t(size_of(dtype))))
    throw Error(ErrorCode::too_large,
                fmt::format("the {} tensor has more bytes than 64 bits can count", tensor));
}

}  // namespace

void ConvProblem::validate() const {
  require_at_least("batch N", N, 0);
  require_at_least("input channels C", C, 1);
  require_at_least("input height H", H, 1);
  require_at_least("input width W", W, 1);
  require_at_least("output channels K", K, 1);
  require_at_least("kernel height R", R, 1);
  require_at_least("kernel width S", S, 1);
  require_at_least("stride_h", stride_h, 1);
  require_at_least("stride_w", stride_w, 1);
  require_at_least("pad_top", pad_top, 0);
  require_at_least("pad_left", pad_left, 0);
  require_at_least("pad_bottom", pad_bottom, 0);
  require_at_least("pad_right", pad_right, 0);
  require_at_least("dilation_h", dilation_h, 1);
  require_at_least("dilation_w", dilation_w, 1);
  require_at_least("groups", groups, 1);
  if (C % groups != 0)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("groups is {}, but must divide the input channels C = {}", groups, C));
  if (K % groups != 0)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("groups is {}, but must divide the output channels K = {}", groups, K));
  if (precision == Precision::tf32 && dtype != DType::f32)
    throw Error(ErrorCode::invalid_argument,
                fmt::format("precision is tf32 with dtype {}, but tf32 is a way to multiply f32",
                            to_string(dtype)));
  const int64_t p = checked_output_size("input height H", "kernel height R", H, R, stride_h,
                                        pad_top, pad_bottom, dilation_h);
  const int64_t q = checked_output_size("input width W", "kernel width S", W, S, stride_w, pad_left,
                                        pad_right, dilation_w);
  // N = 0 empties x and y, but must not hide an overflow of the rest.
  const int64_t n = N > 0 ? N : 1;
  require_size("input", checked_mul(checked_mul(checked_mul(n, C), H), W), dtype);
  require_size("weight", checked_mul(checked_mul(checked_mul(K, C / groups), R), S), dtype);
  require_size("output", checked_mul(checked_mul(checked_mul(n, K), p), q), dtype);
}

int64_t ConvProblem::P() const {
  return (H + pad_top + pad_bottom - dilation_h * (R - 1) - 1) / stride_h + 1;
}

int64_t ConvProblem::Q() const {
  return (W + pad_left + pad_right - dilation_w * (S - 1) - 1) / stride_w + 1;
}

double ConvProblem::flops() const {
  return 2.0 * double(y_elements()) * double(C / groups) * double(R) * double(S);
}

double ConvProblem::min_bytes() const {
  const double bias_bytes = bias ? double(K) * double(size_of(dtype)) : 0.0;
  return double(x_bytes()) + double(w_bytes()) + bias_bytes + double(y_bytes());
}

std::size_t size_of(DType dtype) { return dtype == DType::f32 ? 4 : 2; }

}  // namespace metalconv
