// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "gpu/rows.h"
#include "gpu/tiles.h"

namespace metalconv::gpu {
namespace {

constexpr TileSize kTiles[] = {{128, 128}, {128, 64}, {64, 128}, {64, 64}, {32, 128}, {16, 256}};

Recipe general_recipe(const ConvProblem& p, const Limits& limits) {
  return tiled_recipe(p, limits, {{"general.metal", "general", conv_macros(p)}, kTiles});
}

/// Operations that the tiles make of the problem's, padding included.
double general_cost(const ConvProblem& p, const Limits& limits) {
  const Rates& rates = limits.rates;
  const double channels = double(p.K_per_group());
  const double tile = channels <= 16 ? 16 : channels <= 32 ? 32 : 64;
  return estimated_seconds(p, rates.general * channels / (std::ceil(channels / tile) * tile),
                           rates);
}

}  // namespace

ConvKernel general_kernel() {
  ConvKernel kernel;
  kernel.name = "general";
  kernel.summary =
      "implicit matrix product, 8 x 8 outputs a thread, double-buffered tiles in threadgroup "
      "memory, split reductions; any convolution";
  kernel.cost = general_cost;
  kernel.recipe = general_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
