// SPDX-License-Identifier: Apache-2.0
// winograd_f2.metal and winograd_f4.metal: which block of channels, and into how many parts the
// reduction is cut.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kDepth = 8;            // as in the kernels
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
int64_t tiles(const ConvProblem& p, int64_t side) {
  return p.N * tiles_of(side, p.P(), p.dilation_h) * tiles_of(side, p.Q(), p.dilation_w);
}

int64_t threadgroups(const ConvProblem& p, const Tiling& t) {
  return ceil_div(tiles(p, t.side), t.tiles) * ceil_div(p.K_per_group(), t.channels) * p.groups;
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

/// Of the two kernels alike.
Recipe common_recipe(const ConvProblem& p, const Tiling& t, int64_t parts) {
  Recipe recipe;
  recipe.splits = parts;
  const std::string name = fmt::format("winograd_f{}", t.side);
  recipe.key = {name + ".metal", name, conv_macros(p)};
  const std::pair<const char*, int64_t> macros[] = {
      {"SIDE", t.side},     {"TILE_K", t.channels},        {"TILES", t.tiles},
      {"SPLIT", parts > 1}, {"DILATED", p.dilation_w > 1}, {"TERMS", 3}};
  for (const auto& [macro, value] : macros) recipe.key.macros[macro] = std::to_string(value);
  if (parts > 1) recipe.key.macros["BIAS"] = recipe.key.macros["ACTIVATION"] = "0";
  recipe.shape = {spread(threadgroups(p, t) * parts), {kThreads}};
  recipe.packing = packing(p, t.channels, kDepth, true);
  recipe.packing.taps = int(t.products());
  recipe.pack = pack_key(p, "winograd_pack");
  recipe.pack.macros["SIDE"] = std::to_string(t.side);
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

/// At `efficiency` of the peak, with a start and end that take as long as so many slabs.
double cost(const ConvProblem& p, const Tiling& t, double start_slabs, double efficiency,
            const Rates& rates) {
  const double slabs_and_start = 1 + start_slabs / double(slabs(p));
  return std::max(product_flops(p, t) * slabs_and_start / (rates.flops * efficiency),
                  estimated_seconds(p, 1e6, rates));
}

/// Products and the transforms' additions, of what the problem has of tiles and channels.
double executed_flops(const ConvProblem& p, int64_t side) {
  const auto C = double(p.C), K = double(p.K);
  const double products = double((side + 2) * (side + 2));
  const double in = side == 4 ? 156 + 36 : 32, back = side == 4 ? 90 : 24;  // as on the CPU
  return double(tiles(p, side)) *
         (2.0 * products * double(p.C_per_group()) * K + in * C + back * K);
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
  kernel.executed_flops = [=](const ConvProblem& p) { return executed_flops(p, side); };
  kernel.supports = [](const ConvProblem& p, const Limits&) { return refusal(p); };
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

Recipe f2_recipe(const ConvProblem& p, const Limits& limits) {
  /// Two slabs whose rows are 4 floats apart from each other's banks.
  constexpr std::size_t kPaddedBytes = std::size_t(2 * 16 * kDepth * (32 + 4)) * 4;
  const Tiling t = f2_tiling(p);
  Recipe recipe = common_recipe(p, t, parts_of(p, t, {7200, 2650}, limits, true).count);
  recipe.key.macros["PAD"] = limits.threadgroup_bytes >= kPaddedBytes ? "4" : "0";
  recipe.key.macros["TURNS"] = std::to_string(f2_turns(p, recipe));
  return recipe;
}

/// The efficiencies place it where an H100 did: 0.35 to 0.93 times the time of the fastest other
/// kernel in the 21 problems measured (16 to 1280 channels, 7x7 to 512x512); they are matrix_f32's,
/// whose units it uses.
double f2_cost(const ConvProblem& p, const Rates& rates) {
  const Tiling t = f2_tiling(p);
  return cost(p, t, 2.2, rates.matrix_f32 * (t.channels == 16 ? 1.3 / 0.9 : 1), rates);
}

// ---- F(4x4) ----

constexpr int64_t kF4Channels = 32;

/// Of threadgroup memory: rows of a slab, 4 floats apart from each other's banks, and 4 planes more
/// of what waits there, 6 with long offsets.
std::size_t f4_bytes(int64_t tiles, bool longs) {
  return std::size_t((36 + (longs ? 6 : 4)) * kDepth * (tiles + 4)) * 4 + 8;
}

Recipe f4_recipe(const ConvProblem& p, const Limits& limits) {
  // 32 tiles fill the registers, and leave none for parts and long offsets. Cycles are estimated:
  // not yet measured.
  const bool longs = conv_macros(p).at("INDEX") != "int";
  const bool wide = !longs && limits.threadgroup_bytes >= f4_bytes(32, false);
  Tiling best{4, kF4Channels, 16};
  const Parts narrow = parts_of(p, best, {7500, 2700}, limits, !longs);
  int64_t parts = narrow.count;
  if (wide) {
    const Tiling t{4, kF4Channels, 32};
    if (parts_of(p, t, {12000, 4400}, limits, false).cycles <= narrow.cycles) best = t, parts = 1;
  }
  Recipe recipe = common_recipe(p, best, parts);
  recipe.key.macros["PAD"] = "4";
  recipe.key.macros["TURNS"] = "2";
  return recipe;
}

/// Estimated, not yet measured: a slab of 32 tiles as 1.67 of winograd_f2's, which has half of the
/// outputs: so many instructions it has for sm_90. Where tiles hang over the border, no better than
/// winograd_f2.
double f4_cost(const ConvProblem& p, const Rates& rates) {
  constexpr double kStartSlabs = 2.7, kSlabs = 1.67;
  const Tiling t{4, kF4Channels, 32};
  const double products = 36.0 * 32 * 32 / (16 * 64 * 32);  // of a slab, in those of F(2x2)
  const double seconds = cost(p, t, kStartSlabs, rates.matrix_f32 * products / kSlabs, rates);
  const bool whole = tiles(p, 4) * 16 == p.N * p.P() * p.Q();
  return whole ? seconds : std::max(seconds, f2_cost(p, rates));
}

}  // namespace

ConvKernel winograd_f2_kernel() {
  ConvKernel kernel = row(2);
  kernel.error_bound = 16;
  kernel.cost = f2_cost;
  kernel.recipe = f2_recipe;
  return kernel;
}

ConvKernel winograd_f4_kernel() {
  ConvKernel kernel = row(4);
  // As on the CPU. The emulator, which multiplies in f32, was seen to have 16.5 units at most on
  // zero-mean data and 8.9 on positive ones, for 64 to 640 channels, both at borders; a model of an
  // H100's matrix units 22, in corners of 1280 positive channels.
  kernel.error_bound = 96;
  kernel.cost = f4_cost;
  kernel.recipe = f4_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
