// SPDX-License-Identifier: Apache-2.0
// Tiles of the kernels that share kernels/implicit_gemm.h: which, and into how many parts the
// reduction is cut.
#pragma once

#include <span>

#include "gpu/conv.h"

namespace metalconv::gpu {

struct TileSize {
  std::int64_t channels, pixels;
};

/// What the choice needs to know of a kernel.
struct TiledKernel {
  KernelKey key;  ///< without the macros of the tile
  std::span<const TileSize> sizes;
  double rate = 128;       ///< multiply-adds of a multiprocessor in a cycle
  std::int64_t depth = 0;  ///< of slabs; 0: to suit the channels
  bool split = true;       ///< whether it may cut the reduction
  int pad = 0;             ///< floats behind rows in threadgroup memory
};

/// The recipe with the fewest estimated cycles.
Recipe tiled_recipe(const ConvProblem& problem, const Limits& limits, const TiledKernel& kernel);

}  // namespace metalconv::gpu
