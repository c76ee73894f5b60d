// SPDX-License-Identifier: Apache-2.0
// winograd_f2.metal: which block of channels, and into how many parts the reduction is cut.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kProducts = 16, kTiles = 32, kDepth = 8;  // as in the kernel
constexpr int64_t kFewestChannels = 16;  // below, the transforms cost more than they save
/// Two slabs whose rows are 4 floats apart from each other's banks.
constexpr std::size_t kPaddedBytes = std::size_t(2 * kProducts * kDepth * (kTiles + 4)) * 4;

/// Tiles of 2 outputs along an axis; those the dilation apart belong together.
int64_t tiles_of(int64_t outputs, int64_t dilation) {
  const int64_t step = std::min(outputs, dilation);
  return step > 0 ? step * ceil_div(outputs, 2 * step) : 0;
}
int64_t tiles(const ConvProblem& p) {
  return p.N * tiles_of(p.P(), p.dilation_h) * tiles_of(p.Q(), p.dilation_w);
}

int64_t block_of(const ConvProblem& p) {
  return p.K_per_group() <= 16 ? 16 : p.K_per_group() <= 32 ? 32 : 64;
}
int64_t threadgroups(const ConvProblem& p) {
  return ceil_div(tiles(p), kTiles) * ceil_div(p.K_per_group(), block_of(p)) * p.groups;
}
int64_t slabs(const ConvProblem& p) { return ceil_div(p.C_per_group(), kDepth); }

int64_t splits(const ConvProblem& p, const Limits& limits) {
  constexpr int64_t kSplits[] = {1, 2, 3, 4, 6, 8};
  constexpr double kSlab = 2650, kStart = 7200;       // cycles of a threadgroup of an H100
  constexpr double kLaunch = 3000;                    // of the kernel that adds the parts
  constexpr double kBytesPerCycle = 11;               // of a multiprocessor's share of the memory
  constexpr int64_t kMaxPartials = int64_t(1) << 27;  // elements: partial sums stay in caches
  const double units = std::max<double>(limits.compute_units, 1);
  int64_t best = 1;
  double least = HUGE_VAL;
  for (const int64_t parts : kSplits) {
    const bool may = slabs(p) >= 2 * parts && p.y_elements() * parts <= kMaxPartials &&
                     p.w_elements() <= kMaxPartials;  // with long indices there is no register left
    if (parts > 1 && !may) continue;
    const double per_unit = std::ceil(double(threadgroups(p) * parts) / units);
    double cycles = per_unit * (kStart + kSlab * std::ceil(double(slabs(p)) / double(parts)));
    if (parts > 1) cycles += kLaunch + double(p.y_elements() * 8 * parts) / units / kBytesPerCycle;
    if (cycles < least) least = cycles, best = parts;
  }
  return best;
}

std::string refusal(const ConvProblem& p) {
  if (p.dtype != DType::f32 || p.precision != Precision::ieee)
    return "the kernel is for f32 in ieee precision";
  if (p.R != 3 || p.S != 3) return fmt::format("the kernel is {}x{}, must be 3x3", p.R, p.S);
  if (p.stride_h != 1 || p.stride_w != 1)
    return fmt::format("the strides are {}x{}, must be 1", p.stride_h, p.stride_w);
  if (p.C_per_group() < kFewestChannels)
    return fmt::format("C/groups is {}, must be at least {}", p.C_per_group(), kFewestChannels);
  if (std::max(p.pad_top, p.pad_bottom) > p.dilation_h ||
      std::max(p.pad_left, p.pad_right) > p.dilation_w)
    return "the padding is larger than the dilation: outputs of a few taps would not keep the "
           "error bound";
  return {};
}

/// Four where the compiler has the registers for as many copies of the staging.
int turns(const ConvProblem& p, const Recipe& recipe) {
  const bool nhwc = p.layout == Layout::nhwc;
  if (recipe.key.macros.at("INDEX") == "int") return nhwc && recipe.splits > 1 ? 2 : 4;
  return nhwc ? 4 : 2;
}

Recipe recipe(const ConvProblem& p, const Limits& limits) {
  Recipe recipe;
  recipe.splits = splits(p, limits);
  recipe.key = {"winograd_f2.metal", "winograd_f2", conv_macros(p)};
  const int64_t block = block_of(p);
  const bool split = recipe.splits > 1;
  const std::pair<const char*, int64_t> macros[] = {
      {"TILE_K", block},
      {"SPLIT", split},
      {"PAD", limits.threadgroup_bytes >= kPaddedBytes ? 4 : 0},
      {"DILATED", p.dilation_w > 1},
      {"TURNS", turns(p, recipe)},
      {"TERMS", 3}};
  for (const auto& [name, value] : macros) recipe.key.macros[name] = std::to_string(value);
  if (split) recipe.key.macros["BIAS"] = recipe.key.macros["ACTIVATION"] = "0";
  recipe.shape = {spread(threadgroups(p) * recipe.splits), {256}};
  recipe.packing = packing(p, block, kDepth, true);
  recipe.packing.taps = int(kProducts);
  recipe.pack = pack_key(p, "winograd_pack");
  recipe.pack_run = kProducts;
  recipe.detail = fmt::format("F(2x2), {} channels x {} tiles of 2x2", block, kTiles);
  if (split) recipe.detail += fmt::format(", reduction in {} parts", recipe.splits);
  return recipe;
}

/// Of the products alone, blocks of channels and tiles whole.
double product_flops(const ConvProblem& p) {
  return 2.0 * double(threadgroups(p) * kTiles * block_of(p)) *
         double(kProducts * slabs(p) * kDepth);
}

/// A threadgroup's start and end take as long as a few of its slabs. The efficiencies place it
/// where an H100 did: 0.35 to 0.93 times the time of the fastest other kernel in the 21 problems
/// measured (16 to 1280 channels, 7x7 to 512x512); they are matrix_f32's, whose units it uses.
double cost(const ConvProblem& p, const Rates& rates) {
  constexpr double kStartSlabs = 2.2;
  const double efficiency = rates.matrix_f32 * (block_of(p) == 16 ? 1.3 / 0.9 : 1);
  const double slabs_and_start = 1 + kStartSlabs / double(slabs(p));
  return std::max(product_flops(p) * slabs_and_start / (rates.flops * efficiency),
                  estimated_seconds(p, 1e6, rates));
}

/// Products and the transforms' additions, of what the problem has of tiles and channels.
double executed_flops(const ConvProblem& p) {
  const auto C = double(p.C), K = double(p.K);
  return double(tiles(p)) *
         (2.0 * double(kProducts) * double(p.C_per_group()) * K + 32.0 * C + 24.0 * K);
}

}  // namespace

ConvKernel winograd_f2_kernel() {
  ConvKernel kernel;
  kernel.name = "winograd_f2";
  kernel.summary =
      "3x3, many channels, f32: Winograd F(2x2) in one pass, its 16 products on matrix units";
  kernel.dtypes = {DType::f32};
  kernel.exactness = Exactness::scaled;
  kernel.error_bound = 16;
  kernel.direct_sum = false;  // an infinity meets itself with the other sign and gives NaN
  kernel.executed_flops = executed_flops;
  kernel.supports = [](const ConvProblem& p, const Limits&) { return refusal(p); };
  kernel.cost = cost;
  kernel.recipe = recipe;
  return kernel;
}

}  // namespace metalconv::gpu
