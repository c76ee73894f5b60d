// SPDX-License-Identifier: Apache-2.0
// general.metal's tiles: 4096 outputs a threadgroup, shaped to the output channels of a group.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kTileOutputs = 64 * 64;
constexpr int kThreads = 64;  // 8 x 8 outputs each

/// Groups with fewer output channels leave most of the smallest tile empty.
constexpr int64_t kThinGroup = 8;

bool thin(const ConvProblem& p) { return p.groups > 1 && p.K_per_group() < kThinGroup; }

int64_t tile_channels(const ConvProblem& p) {
  return p.K_per_group() <= 16 ? 16 : p.K_per_group() <= 32 ? 32 : 64;
}

/// Input channels staged at a time: no more than a half of them may be padding.
int64_t depth(const ConvProblem& p) {
  const int64_t channels = p.C_per_group();
  const int64_t all = int64_t(std::bit_ceil(std::uint64_t(std::min<int64_t>(channels, 16))));
  return channels > 16 && channels % 16 != 0 && channels % 16 <= 8 ? 8 : all;
}

Recipe general_recipe(const ConvProblem& p, const Limits& limits) {
  if (thin(p)) return per_output_recipe(p, limits);
  const int64_t channels = tile_channels(p), pixels = kTileOutputs / channels;
  const int64_t tiles =
      ceil_div(p.K_per_group(), channels) * ceil_div(p.N * p.P() * p.Q(), pixels) * p.groups;
  Recipe recipe;
  recipe.key = {"general.metal", "general", conv_macros(p)};
  recipe.key.macros.merge(Macros{{"TILE_K", std::to_string(channels)},
                                 {"TILE_PIXELS", std::to_string(pixels)},
                                 {"DEPTH", std::to_string(depth(p))}});
  recipe.shape = {spread(tiles), {kThreads}};
  recipe.packing = packing(p, channels, depth(p), true);
  recipe.detail = fmt::format("tile of {} channels x {} pixels, {} input channels at a time",
                              channels, pixels, depth(p));
  return recipe;
}

/// Operations that the tiles make of the problem's, padding included, at half of the peak.
double general_cost(const ConvProblem& p) {
  if (thin(p)) return nominal_seconds(p, 0.05);
  const auto padded = [](int64_t size, int64_t tile) {
    return double(ceil_div(size, tile) * tile);
  };
  const double waste = padded(p.K_per_group(), tile_channels(p)) / double(p.K_per_group()) *
                       padded(p.C_per_group(), depth(p)) / double(p.C_per_group());
  return nominal_seconds(p, 0.5 / waste);
}

}  // namespace

ConvKernel general_kernel() {
  ConvKernel kernel;
  kernel.name = "general";
  kernel.summary = "implicit matrix product over tiles in threadgroup memory; any convolution";
  kernel.cost = general_cost;
  kernel.recipe = general_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
