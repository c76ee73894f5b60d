// SPDX-License-Identifier: Apache-2.0
// winograd_f2.metal and winograd_f4.metal: which block of channels, and into how many parts the
// reduction is cut.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gpu/rows.h"
#include "gpu/winograd.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kDepth = kWinogradDepth;
constexpr int64_t kFewestChannels = 16;  // below, the transforms cost more than they save
constexpr int64_t kThreads = 256;

/// F(side x side), and what a threadgroup makes of it.
struct Tiling {
  int64_t side;
  int64_t channels, tiles;

  int64_t products() const { return (side + 2) * (side + 2); }
};

/// Tiles of `side` outputs along an axis; those the dilation apart belong together.
int64_t tiles_of(int64_t side, int64_t outputs, int64_t dilation) {
  const int64_t step = std::min(outputs, dilation);
  return step > 0 ? step * ceil_div(outputs, side * step) : 0;
}
int64_t threadgroups(const ConvProblem& p, const Tiling& t) {
  return ceil_div(winograd_tiles(p, t.side), t.tiles) * ceil_div(p.K_per_group(), t.channels) *
         p.groups;
}
int64_t slabs(const ConvProblem& p) { return ceil_div(p.C_per_group(), kDepth); }

/// Cycles of a threadgroup on an H100, for its start and end and for a slab.
struct Cycles {
  double start, slab;
};

/// With the fewest cycles, and those.
struct Parts {
  int64_t count = 1;
  double cycles = HUGE_VAL;
};
Parts parts_of(const ConvProblem& p, const Tiling& t, const Cycles& of, const Limits& limits,
               bool may_split) {
  constexpr int64_t kSplits[] = {1, 2, 3, 4, 6, 8};
  constexpr double kLaunch = 3000;                    // of the kernel that adds the parts
  constexpr double kBytesPerCycle = 11;               // of a multiprocessor's share of the memory
  constexpr int64_t kMaxPartials = int64_t(1) << 27;  // elements: partial sums stay in caches
  const double units = std::max<double>(limits.compute_units, 1);
  Parts best;
  for (const int64_t parts : kSplits) {
    const bool may = may_split && slabs(p) >= 2 * parts && p.y_elements() * parts <= kMaxPartials &&
                     p.w_elements() <= kMaxPartials;  // with long indices there is no register left
    if (parts > 1 && !may) continue;
    const double per_unit = std::ceil(double(threadgroups(p, t) * parts) / units);
    double cycles = per_unit * (of.start + of.slab * std::ceil(double(slabs(p)) / double(parts)));
    if (parts > 1) cycles += kLaunch + double(p.y_elements() * 8 * parts) / units / kBytesPerCycle;
    if (cycles < best.cycles) best = {parts, cycles};
  }
  return best;
}

/// Of the two kernels alike.
Recipe common_recipe(const ConvProblem& p, const Tiling& t, int64_t parts) {
  Recipe recipe;
  recipe.splits = parts;
  const std::string name = fmt::format("winograd_f{}", t.side);
  recipe.key = {name + ".metal", name, conv_macros(p)};
  define(recipe.key.macros, {{"SIDE", t.side},
                             {"TILE_K", t.channels},
                             {"TILES", t.tiles},
                             {"SPLIT", parts > 1},
                             {"DILATED", p.dilation_w > 1},
                             {"TERMS", 3}});
  if (parts > 1) recipe.key.macros["BIAS"] = recipe.key.macros["ACTIVATION"] = "0";
  recipe.shape = {spread(threadgroups(p, t) * parts), {kThreads}};
  recipe.packing = packing(p, t.channels, kDepth, true);
  recipe.packing.taps = int(t.products());
  recipe.pack = pack_key(p, "winograd_pack");
  define(recipe.pack.macros, {{"SIDE", t.side}, {"MATRICES", 0}});
  recipe.pack_run = t.products();
  recipe.detail =
      fmt::format("F({0}x{0}), {1} channels x {2} tiles of {0}x{0}", t.side, t.channels, t.tiles);
  if (parts > 1) recipe.detail += fmt::format(", reduction in {} parts", parts);
  return recipe;
}

/// Of the products alone, blocks of channels and tiles whole.
double product_flops(const ConvProblem& p, const Tiling& t) {
  return 2.0 * double(threadgroups(p, t) * t.tiles * t.channels) *
         double(t.products() * slabs(p) * kDepth);
}

ConvKernel row(int64_t side) {
  ConvKernel kernel;
  kernel.name = fmt::format("winograd_f{}", side);
  kernel.summary = fmt::format(
      "3x3, many channels, f32: Winograd F({0}x{0}) in one pass, its {1} products on "
      "matrix units",
      side, (side + 2) * (side + 2));
  kernel.dtypes = {DType::f32};
  kernel.exactness = Exactness::scaled;
  kernel.direct_sum = false;  // an infinity meets itself with the other sign and gives NaN
  kernel.executed_flops = [=](const ConvProblem& p) { return winograd_flops(p, side); };
  kernel.supports = [](const ConvProblem& p, const Limits&) { return winograd_refusal(p); };
  return kernel;
}

// ---- F(2x2) ----

Tiling f2_tiling(const ConvProblem& p) {
  return {2, p.K_per_group() <= 16 ? 16 : p.K_per_group() <= 32 ? 32 : 64, 32};
}

/// Four where the compiler has the registers for as many copies of the staging.
int f2_turns(const ConvProblem& p, const Recipe& recipe) {
  const bool nhwc = p.layout == Layout::nhwc;
  if (recipe.key.macros.at("INDEX") == "int") return nhwc && recipe.splits > 1 ? 2 : 4;
  return nhwc ? 4 : 2;
}

Parts f2_parts(const ConvProblem& p, const Limits& limits) {
  return parts_of(p, f2_tiling(p), {7200, 2650}, limits, true);
}

Recipe f2_recipe(const ConvProblem& p, const Limits& limits) {
  /// Two slabs whose rows are 4 floats apart from each other's banks.
  constexpr std::size_t kPaddedBytes = std::size_t(2 * 16 * kDepth * (32 + 4)) * 4;
  Recipe recipe = common_recipe(p, f2_tiling(p), f2_parts(p, limits).count);
  recipe.key.macros["PAD"] = limits.threadgroup_bytes >= kPaddedBytes ? "4" : "0";
  recipe.key.macros["TURNS"] = std::to_string(f2_turns(p, recipe));
  return recipe;
}

/// The efficiencies place it where an H100 did: 0.35 to 0.93 times the time of the fastest other
/// kernel in the 21 problems measured (16 to 1280 channels, 7x7 to 512x512); they are matrix_f32's,
/// whose units it uses. Its start and end take as long as 2.2 slabs.
double f2_cost(const ConvProblem& p, const Limits& limits) {
  const Tiling t = f2_tiling(p);
  const Rates& rates = limits.rates;
  const double efficiency = rates.matrix_f32 * (t.channels == 16 ? 1.3 / 0.9 : 1);
  const double slabs_and_start = 1 + 2.2 / double(slabs(p));
  return std::max(product_flops(p, t) * slabs_and_start / (rates.flops * efficiency),
                  estimated_seconds(p, 1e6, rates));
}

// ---- F(4x4) ----

constexpr int64_t kF4Channels = 32;

/// Of threadgroup memory: rows of a slab, 4 floats apart from each other's banks, and 4 planes more
/// of what waits there, 6 with long offsets.
std::size_t f4_bytes(int64_t tiles, bool longs) {
  return std::size_t((36 + (longs ? 6 : 4)) * kDepth * (tiles + 4)) * 4 + 8;
}

struct F4Choice {
  Tiling tiling;
  Parts parts;
};

F4Choice f4_choice(const ConvProblem& p, const Limits& limits) {
  // 32 tiles fill the registers, and leave none for parts and long offsets.
  const bool longs = conv_macros(p).at("INDEX") != "int";
  const Tiling narrow{4, kF4Channels, 16};
  const F4Choice other{narrow, parts_of(p, narrow, {7500, 2700}, limits, !longs)};
  if (longs || limits.threadgroup_bytes < f4_bytes(32, false)) return other;
  const Tiling tiling{4, kF4Channels, 32};
  const F4Choice wide{tiling, parts_of(p, tiling, {12000, 4400}, limits, false)};
  return wide.parts.cycles <= other.parts.cycles ? wide : other;
}

Recipe f4_recipe(const ConvProblem& p, const Limits& limits) {
  const F4Choice choice = f4_choice(p, limits);
  Recipe recipe = common_recipe(p, choice.tiling, choice.parts.count);
  recipe.key.macros["PAD"] = "4";
  recipe.key.macros["TURNS"] = "2";
  return recipe;
}

/// To winograd_f2's as their cycles are to each other. By these, which are counted instructions, an
/// H100 should take 54, 188 and 161 us for 64 and 128 channels of 256x256 and 64 images of 64 of
/// 56x56; it took 50, 180 and 169. What weights cost was fitted: 53, 197 and 53 us became 62, 248
/// and 88 for 256 channels of 64x64, two images of 320 of 64x64 and 512 of 32x32.
double f4_cost(const ConvProblem& p, const Limits& limits) {
  const double weights = 36.0 * 4 * double(p.K * p.C_per_group());  // bytes, packed
  const double cycles = f4_choice(p, limits).parts.cycles * (1 + weights / 60e6);
  const double others = f2_parts(p, limits).cycles;
  return f2_cost(p, limits) * (others > 0 ? cycles / others : 1);
}

}  // namespace

std::string winograd_refusal(const ConvProblem& p) {
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

int64_t winograd_tiles(const ConvProblem& p, int64_t side) {
  return p.N * tiles_of(side, p.P(), p.dilation_h) * tiles_of(side, p.Q(), p.dilation_w);
}

double winograd_flops(const ConvProblem& p, int64_t side) {
  const auto C = double(p.C), K = double(p.K);
  const double products = double((side + 2) * (side + 2));
  const double in = side == 4 ? 156 + 36 : 32, back = side == 4 ? 90 : 24;  // as on the CPU
  return double(winograd_tiles(p, side)) *
         (2.0 * products * double(p.C_per_group()) * K + in * C + back * K);
}

ConvKernel winograd_f2_kernel() {
  ConvKernel kernel = row(2);
  kernel.error_bound = 16;
  kernel.cost = f2_cost;
  kernel.recipe = f2_recipe;
  return kernel;
}

ConvKernel winograd_f4_kernel() {
  ConvKernel kernel = row(4);
  kernel.error_bound = kWinogradF4Bound;
  kernel.cost = f4_cost;
  kernel.recipe = f4_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
