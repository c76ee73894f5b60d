// SPDX-License-Identifier: Apache-2.0
// The inner loops of the direct kernel, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "metalconv/problem.h"

namespace metalconv::cpu {

/// One row of outputs of one block of output channels. A tap is an offset into the strip (strip.h),
/// so that kernel size, stride, dilation and padding are all the same to the inner loop.
struct RowRun {
  const float* x;            ///< the first pixel's place in the strip, for the tap at offset 0
  const std::int64_t* taps;  ///< offsets from it, in the order of the sum
  std::int64_t tap_count;
  std::int64_t x_step;  ///< NHWC: from one pixel to the next; in NCHW it is 1
  const float* w;       ///< [tap][channel of the block]
  const float* bias;    ///< of the block's first channel, or null
  float* y;             ///< first pixel of the block's first channel
  std::int64_t y_step;  ///< NCHW: from one channel to the next; NHWC: from one pixel to the next
  std::int64_t pixels;
  std::int64_t channels;  ///< NHWC: of the block that exist; w is padded to whole vectors
  Activation activation;
  bool stream;  ///< whole vectors by non-temporal stores; y is then aligned at every vector
};

/// A block is as many output channels as fit the registers together with a tile of pixels.
struct RowKernels {
  using Row = void (*)(const RowRun&);
  std::int64_t target;
  int lanes;                     ///< floats in a vector
  int nchw_blocks, nhwc_blocks;  ///< entries in use below
  Row nchw[4];                   ///< vectors hold pixels ...
  int nchw_channels[4];          ///< ... of so many channels, ascending from 1
  Row nhwc[4];                   ///< entry i: i + 1 vectors of channels
  int nchw_pixels, nhwc_pixels;  ///< of the largest block's tile
};

const RowKernels& row_kernels(std::string_view isa);

}  // namespace metalconv::cpu
