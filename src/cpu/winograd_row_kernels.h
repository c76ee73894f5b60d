// SPDX-License-Identifier: Apache-2.0
// The inner loops of the winograd_row kernel, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "metalconv/problem.h"

namespace metalconv::cpu {

/// Winograd's F(2,3) along a row: the outputs q and q + 1 of three taps g over the inputs d0..d3
/// are
///   y0 = m0 + m1 + m2, y1 = m1 - m2 + m3, where
///   m0 = (d0 - d2) g0, m1 = (d1 + d2) (g0 + g1 + g2) / 2,
///   m2 = (d2 - d1) (g0 - g1 + g2) / 2, m3 = (d3 - d1) g2:
/// four products for six. Channels and kernel rows are summed before the last step, in registers.
/// y0 reads d0, d1, d2 only and y1 the other three: an error or a NaN stays where it belongs.
struct WinogradRun {
  const float* x;            ///< transformed row: four planes, one a product
  std::int64_t plane;        ///< floats from one plane to the next
  const std::int64_t* taps;  ///< offsets of each (channel, kernel row)
  std::int64_t tap_count;
  const float* w;     ///< [products 1 and 2, then 0 and 3][tap][product][channel of the block]
  const float* bias;  ///< of the block's first channel, or null
  float* y;
  std::int64_t y_step;  ///< from one channel to the next
  std::int64_t pixels;
  Activation activation;
  bool stream;  ///< whole vectors by non-temporal stores; y is then aligned at every vector
};

struct WinogradKernels {
  std::int64_t target;
  int lanes;   ///< 0: there are no kernels for this target, its vectors have one lane
  int blocks;  ///< entries in use below
  int pixels;  ///< of a tile
  void (*row[3])(const WinogradRun&);  ///< entry i: 2^i channels
  /// Transform a row of 2 `pairs` + 2 floats, padding included, into four planes.
  void (*transform)(const float* from, float* to, std::int64_t plane, std::int64_t pairs);
};

const WinogradKernels& winograd_row_kernels(std::string_view isa);

}  // namespace metalconv::cpu
