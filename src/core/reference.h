// SPDX-License-Identifier: Apache-2.0
// The oracle: the convolution's definition in float64, one output at a time.
#pragma once

#include <cstdint>

#include "core/registry.h"
#include "metalconv/problem.h"

namespace metalconv {

/// What one output should be.
struct Expected {
  double value = 0;      ///< act(sum + bias), not rounded to the output's type
  double magnitude = 0;  ///< S = sum |x w| + |bias|, the scale of rounding errors
};

/// The oracle over dense host tensors in the problem's layout; `bias` is null when there is none.
/// Plain loops over the definition, sharing no index code with any kernel: it steps through taps by
/// their coordinates and skips those on the padding.
class Reference {
 public:
  Reference(const ConvProblem& problem, const void* x, const void* w, const void* bias);
  Expected at(std::int64_t n, std::int64_t k, std::int64_t p, std::int64_t q) const;

 private:
  ConvProblem problem_;
  const void* x_;
  const void* w_;
  const void* bias_;
};

double apply(Activation activation, double value);

/// The bound of docs/measuring.md: (2 u_in + c u_acc) S L + half an ulp of the output's type, with
/// c the row's error_bound.
double error_bound(const KernelRow& row, const ConvProblem& problem, const Expected& expected);

}  // namespace metalconv
