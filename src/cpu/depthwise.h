// SPDX-License-Identifier: Apache-2.0
// The inner loops of the depthwise kernel, compiled once per instruction set by depthwise_tiles.cpp
// and driven by depthwise.cpp.
#pragma once

#include <cstdint>
#include <string_view>

namespace metalconv::cpu::depthwise {

/// The activation: applied when `on`.
struct Clamp {
  bool on;
  float low, high;
};

/// One output channel of NCHW: vectors of neighbouring pixels, read at x + from[i] + taps[t] and
/// written to y + to[i].
struct Plane {
  const float* x;
  const float* w;  ///< one weight a tap
  const std::int64_t* taps;
  std::int64_t tap_count;
  float bias;
  Clamp clamp;
  const std::int64_t* from;
  const std::int64_t* to;
  std::int64_t vectors;
  float* y;
};

/// Rows of one output channel of NCHW, at least a vector long, from the input where it lies: tap
/// (r, s) of row i, column j is row top + i * stride + r, column left + j * stride + s.
struct Rows {
  const float* x;
  std::int64_t H, W;  ///< of x; what lies outside is 0
  std::int64_t top, left;
  const float* w;              ///< [r][s]
  std::int64_t rows, columns;  ///< of outputs
  float bias;
  Clamp clamp;
  float* y;
};
using RowsKernel = void (*)(const Rows&);

/// Neighbouring pixels of rows of NHWC: tap (r, s) of row i, pixel j is read at x + i * x_down +
/// r * x_row + j * x_pixel + s * x_column, its weight at w + r * w_row + s * w_column. Taps are
/// left out where row top + i * stride + r * dilation is not in [0, H), or, where `shares` is true
/// of the kernel, column j * x_pixel / x_column + s not in [first, last).
struct Pixels {
  const float* x;
  const float* w;
  const float* bias;  ///< or null
  float* y;
  std::int64_t x_down, x_row, x_column, x_pixel, w_row, w_column, y_down, y_pixel;
  std::int64_t top, stride, dilation, H;
  std::int64_t R, S;  ///< taps
  std::int64_t rows, pixels, channels;
  std::int64_t first, last;
  Clamp clamp;
};

/// Whether neighbouring pixels share what they read: they are `step` of S taps apart.
constexpr bool shares(std::int64_t S, std::int64_t step) {
  return (S == 3 || S == 5) && (step == 1 || step == 2);
}

struct Kernels {
  std::int64_t target;
  int lanes;  ///< floats of a vector
  void (*plane)(const Plane&);
  /// Of R x R taps with this stride in both directions, or null.
  RowsKernel (*rows)(std::int64_t R, std::int64_t stride);
  void (*pixels)(const Pixels&);
};

const Kernels& kernels_of(std::string_view isa);

}  // namespace metalconv::cpu::depthwise
