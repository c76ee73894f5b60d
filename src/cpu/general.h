// SPDX-License-Identifier: Apache-2.0
// The register tiles of the general kernel, compiled once per instruction set by general_tiles.cpp
// and driven by general.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>

#include "metalconv/problem.h"

namespace metalconv::cpu::general {

/// The sum of a tile: for each offset of `outer`, for each of `inner`, the inputs at
/// x + outer + inner times the next weights of w.
struct Sum {
  const float* x;
  const float* w;
  const std::int64_t* outer;
  std::int64_t outer_count;
  const std::int64_t* inner;  ///< `by_channels` takes 0, 1, 2 ... instead: neighbouring channels
  std::int64_t inner_count;
  const float* bias;  ///< of the tile's channels; never null
  bool add;           ///< sums go on from what y holds, not from the bias
  bool clamp;         ///< the activation
  float low, high;    ///< ... is this clamp

  void activate(Activation activation) {
    clamp = activation != Activation::none;
    low = 0;
    high = activation == Activation::relu6 ? 6.0f : std::numeric_limits<float>::infinity();
  }
};

/// The bias of a block of at most kMost channels, as Sum wants it: never null, never short.
class BlockBias {
 public:
  static constexpr std::int64_t kMost = 64;
  /// `bias`: null, or that of the `channels` that there are of the block.
  const float* of(const float* bias, std::int64_t channels, std::int64_t block) {
    static constexpr float kNone[kMost] = {};
    if (!bias) return kNone;
    if (channels >= block) return bias;
    std::fill(std::copy_n(bias, channels, room_), room_ + block, 0.0f);
    return room_;
  }

 private:
  float room_[kMost];
};

/// A tile is the most outputs whose sums fit the registers beside their operands.
struct Kernels {
  std::int64_t target;
  int lanes;            ///< floats of a vector
  int channels;         ///< of a `pixel_vectors` tile at most
  int pixel_vectors;    ///< of it at most
  int pixels;           ///< of a `channel_vectors` tile at most
  int channel_vectors;  ///< of it at most
  int wide_pixels;      ///< of a `wide_vectors` tile at most, or 0: there is none
  int wide_vectors;     ///< of it at most: fewer loads for each multiply-add, where K fills it
  double rate;          ///< vector multiply-adds a second, 1e9; measured on Zen 4

  /// Vectors hold pixels that are neighbours in x, w holds `channels` weights a step. Channel i
  /// goes to y + i * pitch.
  void (*by_pixels)(int channels, int vectors, const Sum&, float* y, std::int64_t pitch);
  /// Vectors hold channels, w holds `vectors` vectors a step. Pixel i is read at x + from[i] and
  /// goes to y + to[i] * pitch.
  void (*by_channels)(int pixels, int vectors, const Sum&, const std::int64_t* from, float* y,
                      const std::int64_t* to, std::int64_t pitch);
};

const Kernels& kernels_of(std::string_view isa);

}  // namespace metalconv::cpu::general
