// SPDX-License-Identifier: Apache-2.0
#include "metalconv/tensor.h"

namespace metalconv {
namespace {

TensorView dense(Memory memory, DType dtype, std::array<std::int64_t, 4> sizes) {
  const auto [a, b, c, d] = sizes;
  return {memory, dtype, sizes, {b * c * d, c * d, d, 1}};
}

TensorView activation(Memory memory, const ConvProblem& problem, std::int64_t channels,
                      std::int64_t rows, std::int64_t columns) {
  TensorView view = dense(memory, problem.dtype, {problem.N, channels, rows, columns});
  if (problem.layout == Layout::nhwc)
    view.strides = {rows * columns * channels, 1, columns * channels, channels};
  return view;
}

}  // namespace

TensorView x_view(const ConvProblem& c, Memory memory) {
  return activation(memory, c, c.C, c.H, c.W);
}
TensorView w_view(const ConvProblem& c, Memory memory) {
  return dense(memory, c.dtype, {c.K, c.C_per_group(), c.R, c.S});
}
TensorView bias_view(const ConvProblem& c, Memory memory) {
  return dense(memory, c.dtype, {c.K, 1, 1, 1});
}
TensorView y_view(const ConvProblem& c, Memory memory) {
  return activation(memory, c, c.K, c.P(), c.Q());
}

}  // namespace metalconv
