// SPDX-License-Identifier: Apache-2.0
// Winograd's F(4x4, 3x3) and F(2x2, 3x3): the transforms of inputs and outputs, one table an
// instruction set. An output tile of M x M pixels comes from an input tile of (M + 2) x (M + 2),
// through (M + 2)^2 products instead of 9 M^2 (Lavin and Gray, "Fast Algorithms for Convolutional
// Neural Networks", 2015; the points are 0, 1, -1, 2, -2 and infinity for M = 4).
#pragma once

#include <cstdint>
#include <string_view>

#include "metalconv/problem.h"

namespace metalconv::cpu::winograd_tiles {

/// Rows of pixels of one channel, to be transformed down the columns into lines.
struct PixelRows {
  const float* rows[6];      ///< M + 2, or the lines themselves
  std::int64_t left, right;  ///< columns [left, right) are read, the others are zeros
  std::int64_t ahead;        ///< floats behind what is read something is fetched
  std::int64_t columns;      ///< of the lines; whole vectors are written
  float* lines;
  std::int64_t pitch;  ///< floats from line to line
};

/// Tiles, vectors along the tiles (NCHW).
struct PixelRun {
  float* lines;        ///< (M + 2) or M rows of pixels of one channel
  std::int64_t pitch;  ///< floats from line to line; whole vectors may be read past the last tile
  /// Where in a line each piece of kLanes / M tiles begins, M pieces a vector, whose tiles take
  /// turns in it: no pixel leaves its 128 bits. Null: the tiles are neighbours, in their order.
  const std::int64_t* pieces;
  float* planes;      ///< (M + 2)^2 products; the run's tiles are neighbours
  std::int64_t step;  ///< floats from product to product; whole vectors are written
  std::int64_t tiles;
  Activation activation;  ///< of outputs
};

/// One tile, vectors along the channels (NHWC).
struct ChannelRun {
  const float* lines;     ///< in: M + 2 rows of pixels, each with its channels
  float* y;               ///< out: M rows
  std::int64_t pitch;     ///< floats from line to line
  std::int64_t pixel;     ///< floats from pixel to pixel
  float* planes;          ///< (M + 2)^2 products of this tile, each with its channels
  std::int64_t step;      ///< floats from product to product
  std::int64_t channels;  ///< at least a vector; the last vector may overlap the one before
  Activation activation;  ///< of outputs
};

struct Transforms {
  /// Rows become lines, lines become products.
  void (*rows_in)(const PixelRows&);
  void (*pixels_in)(const PixelRun&);
  void (*channels_in)(const ChannelRun&);
  /// Products become lines of outputs.
  void (*pixels_out)(const PixelRun&);
  void (*channels_out)(const ChannelRun&);
};

struct Kernels {
  std::int64_t target;
  int lanes;      ///< floats of a vector; 1: there are no transforms for this target
  bool parts;     ///< vectors of rows_in read no column that is not to be read
  Transforms f2;  ///< M = 2
  Transforms f4;  ///< M = 4
};

const Kernels& kernels_of(std::string_view isa);

/// The transform of three taps to M + 2 factors: M = 4 or 2. In double, so that a factor of two
/// dimensions is rounded once.
void transform_taps(int m, const double* taps, std::int64_t step, double* factors,
                    std::int64_t factor_step);

}  // namespace metalconv::cpu::winograd_tiles
