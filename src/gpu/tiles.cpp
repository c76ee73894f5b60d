// SPDX-License-Identifier: Apache-2.0
#include "gpu/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace metalconv::gpu {
namespace {

using std::int64_t;

struct Tile {
  int64_t channels = 64, pixels = 64;
  int64_t depth = 16;
  bool flat = false;  ///< the reduction in the weights' own order
  int64_t splits = 1;

  int64_t threads() const { return channels * pixels / 64; }
};

/// Input channels staged at a time: no more than a half of them may be padding. Tiles of few
/// channels hold more pixels, and have no registers for deeper slabs.
int64_t depth(const ConvProblem& p, int64_t channels) {
  const int64_t rest = p.C_per_group() % 16;
  return channels < 64 || p.C_per_group() <= 8 || (rest > 0 && rest <= 8) ? 8 : 16;
}

/// A slab that crosses taps costs index arithmetic, about as much as a sixth of the products.
bool flat(const ConvProblem& p, int64_t depth) {
  const int64_t channels = p.C_per_group(), padded = ceil_div(channels, depth) * depth;
  return p.R * p.S > 1 && padded * 6 > channels * 7;
}

int64_t slabs(const ConvProblem& p, const Tile& t) {
  return t.flat ? ceil_div(p.C_per_group() * p.R * p.S, t.depth)
                : ceil_div(p.C_per_group(), t.depth) * p.R * p.S;
}

int64_t tiles(const ConvProblem& p, const Tile& t) {
  return ceil_div(p.K_per_group(), t.channels) * ceil_div(p.N * p.P() * p.Q(), t.pixels) * p.groups;
}

/// Of a multiprocessor. The constants are an H100's.
double cycles(const ConvProblem& p, const Tile& t, const TiledKernel& kernel,
              std::uint32_t compute_units) {
  constexpr double kThreads = 256;       // that keep the multiply-adders busy
  constexpr double kStaging = 5.6;       // beside the products of a row and a column of the tile
  constexpr double kTileStart = 1500;    // to fetch the first slab and to store the sums
  constexpr double kLaunch = 3000;       // of the kernel that adds the parts
  constexpr double kBytesPerCycle = 11;  // of a multiprocessor's share of the memory
  const double units = std::max<double>(compute_units, 1);
  const double per_unit = std::ceil(double(tiles(p, t) * t.splits) / units);
  const double busy = std::min(1.0, per_unit * double(t.threads()) / kThreads);
  const double staging = 1 + kStaging * (1 / double(t.channels) + 1 / double(t.pixels));
  const double products =
      double(t.channels * t.pixels * t.depth) * std::ceil(double(slabs(p, t)) / double(t.splits));
  double total = per_unit * (products / kernel.rate * staging / busy + kTileStart);
  if (t.splits > 1)
    total += kLaunch + double(p.y_elements() * 8 * t.splits) / units / kBytesPerCycle;
  return total;
}

Tile choose(const ConvProblem& p, const Limits& limits, const TiledKernel& kernel) {
  constexpr int64_t kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16};
  constexpr int64_t kMaxPartials = int64_t(1) << 27;  // elements: partial sums stay in caches
  Tile best;
  double least = HUGE_VAL;
  for (const auto& [channels, pixels] : kernel.sizes) {
    Tile t{channels, pixels, kernel.depth > 0 ? kernel.depth : depth(p, channels)};
    t.flat = flat(p, t.depth);
    for (const int64_t splits : kSplits) {
      t.splits = splits;
      const bool allowed = splits == 1 || (kernel.split && slabs(p, t) >= 4 * splits &&
                                           p.y_elements() * splits <= kMaxPartials);
      if (!allowed) continue;
      const double estimate = cycles(p, t, kernel, limits.compute_units);
      if (estimate < least) least = estimate, best = t;
    }
  }
  return best;
}

}  // namespace

Recipe tiled_recipe(const ConvProblem& p, const Limits& limits, const TiledKernel& kernel) {
  const Tile t = choose(p, limits, kernel);
  Recipe recipe;
  recipe.key = kernel.key;
  define(recipe.key.macros, {{"TILE_K", t.channels},
                             {"TILE_PIXELS", t.pixels},
                             {"DEPTH", t.depth},
                             {"FLAT", t.flat},
                             {"SPLIT", t.splits > 1},
                             {"PAD", kernel.pad}});
  if (t.splits > 1) {
    recipe.key.macros["OUT_ELEM"] = "float";
    recipe.key.macros["BIAS"] = recipe.key.macros["ACTIVATION"] = "0";
  }
  recipe.shape = {spread(tiles(p, t) * t.splits), {std::uint32_t(t.threads())}};
  recipe.splits = t.splits;
  recipe.packing = packing(p, t.channels, t.depth, true);
  if (t.flat) {
    recipe.packing.C = int(p.C_per_group() * p.R * p.S);
    recipe.packing.taps = 1;
    recipe.packing.padded_channels = int(slabs(p, t) * t.depth);
  }
  recipe.detail = fmt::format("tile of {} channels x {} pixels, {} {} at a time", t.channels,
                              t.pixels, t.depth, t.flat ? "products" : "input channels");
  if (t.splits > 1) recipe.detail += fmt::format(", reduction in {} parts", t.splits);
  return recipe;
}

}  // namespace metalconv::gpu
