// SPDX-License-Identifier: Apache-2.0
#include "core/reference.h"

#include <algorithm>
#include <cmath>

#include "core/half.h"

namespace metalconv {
namespace {

using std::int64_t;

double load(DType dtype, const void* data, int64_t i) { return to_double(dtype, data, i); }

/// Half the distance between neighbours of `value` in `dtype`.
double half_ulp(DType dtype, double value) {
  const int digits = dtype == DType::f32 ? 24 : dtype == DType::f16 ? 11 : 8;
  const int min_exponent = dtype == DType::f16 ? -14 : -126;
  const int exponent = value == 0 ? min_exponent : std::max(std::ilogb(value), min_exponent);
  return std::ldexp(0.5, exponent - digits + 1);
}

/// Lipschitz constant: how much an activation can magnify an error.
double lipschitz(Activation a) { return a == Activation::silu ? 1.1 : 1.0; }

}  // namespace

double apply(Activation activation, double v) {
  switch (activation) {
    case Activation::none:
      break;
    // Written so that NaN stays NaN.
    case Activation::relu:
      return v < 0 ? 0 : v;
    case Activation::relu6:
      return v < 0 ? 0 : v > 6 ? 6 : v;
    case Activation::silu:
      return v / (1 + std::exp(-v));
  }
  return v;
}

Reference::Reference(const ConvProblem& problem, const void* x, const void* w, const void* bias)
    : problem_(problem), x_(x), w_(w), bias_(bias) {}

Expected Reference::at(int64_t n, int64_t k, int64_t p, int64_t q) const {
  const ConvProblem& c = problem_;
  const bool nchw = c.layout == Layout::nchw;
  const int64_t group_channels = c.C / c.groups;
  const int64_t first_channel = k / (c.K / c.groups) * group_channels;
  Expected e;
  for (int64_t r = 0; r < c.R; ++r) {
    const int64_t h = p * c.stride_h + r * c.dilation_h - c.pad_top;
    if (h < 0 || h >= c.H) continue;
    for (int64_t s = 0; s < c.S; ++s) {
      const int64_t v = q * c.stride_w + s * c.dilation_w - c.pad_left;
      if (v < 0 || v >= c.W) continue;
      for (int64_t j = 0; j < group_channels; ++j) {
        const int64_t channel = first_channel + j;
        const int64_t xi = nchw ? ((n * c.C + channel) * c.H + h) * c.W + v
                                : ((n * c.H + h) * c.W + v) * c.C + channel;
        const int64_t wi = ((k * group_channels + j) * c.R + r) * c.S + s;
        const double product = load(c.dtype, x_, xi) * load(c.dtype, w_, wi);
        e.value += product;
        e.magnitude += std::fabs(product);
      }
    }
  }
  if (c.bias) {
    const double b = load(c.dtype, bias_, k);
    e.value += b;
    e.magnitude += std::fabs(b);
  }
  e.value = apply(c.activation, e.value);
  return e;
}

double error_bound(const KernelRow& row, const ConvProblem& problem, const Expected& e) {
  const double u_in = problem.precision == Precision::tf32 ? std::ldexp(1, -10) : 0;
  const double u_acc = std::ldexp(1, -24);
  return (2 * u_in + row.error_bound * u_acc) * e.magnitude * lipschitz(problem.activation) +
         half_ulp(problem.dtype, e.value);
}

}  // namespace metalconv
