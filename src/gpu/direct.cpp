// SPDX-License-Identifier: Apache-2.0
// The tiles of direct.metal and direct_rows.metal: which of them, and how the threads lie.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kMaxChannels = 4;
constexpr int64_t kPixels = 4;  // PIXELS in direct.h

struct Tile {
  bool window = false;  ///< direct.metal, else direct_rows.metal
  int64_t channels = 1, rows = 1, quads = 1;
  int64_t lanes_k = 1, lanes_x = 32, lanes_y = 4;

  int64_t threads() const { return lanes_k * lanes_x * lanes_y; }
  int64_t columns() const { return lanes_x * kPixels; }
  int64_t lines() const { return lanes_y * rows; }
};

/// The smallest power of two that holds `value`, at most `limit`.
int64_t power_of_two(int64_t value, int64_t limit) {
  return std::min(int64_t(std::bit_ceil(std::uint64_t(std::min(value, limit)))), limit);
}

/// Places that `outputs` neighbours read along one axis.
int64_t span(int64_t outputs, int64_t stride, int64_t taps, int64_t dilation) {
  return (outputs - 1) * stride + (taps - 1) * dilation + 1;
}

/// As direct.h declares it.
int64_t threadgroup_bytes(const ConvProblem& p, const Tile& t) {
  const int64_t window = ceil_div(span(kPixels, p.stride_w, p.S, p.dilation_w), 4) * 4;
  const int64_t columns = (t.lanes_x - 1) * kPixels * p.stride_w + window;
  const int64_t lines = span(t.lines(), p.stride_h, p.R, p.dilation_h);
  const bool staged = !t.window || t.lanes_k > 1;
  return t.channels * ((staged ? lines * columns : 0) + 4 * t.quads * p.R * p.S) *
         int64_t(sizeof(float));
}

/// Registers that direct.metal keeps of the input: the distinct places that a thread reads.
int64_t window_registers(const ConvProblem& p, int64_t rows) {
  const auto places = [](int64_t outputs, int64_t stride, int64_t taps, int64_t dilation) {
    return std::min(span(outputs, stride, taps, dilation), outputs * taps);
  };
  return p.C * places(rows, p.stride_h, p.R, p.dilation_h) *
         places(kPixels, p.stride_w, p.S, p.dilation_w);
}

/// Whether direct.metal can hold the window in registers beside 16 sums a row.
bool holds_window(const ConvProblem& p, int64_t rows) {
  constexpr int64_t kWindowRegisters = 128;  // 5x5 on 3 channels needs 120
  constexpr int64_t kUnrolled = 2048;        // multiply-adds of the body, which is unrolled whole
  return window_registers(p, rows) <= kWindowRegisters &&
         p.C * p.R * p.S * rows * 4 * kPixels <= kUnrolled;
}

/// Outputs that the tiles make, those beyond the border included.
int64_t padded_outputs(const ConvProblem& p, const Tile& t) {
  return ceil_div(p.Q(), t.columns()) * t.columns() * ceil_div(p.P(), t.lines()) * t.lines();
}

int64_t threadgroups(const ConvProblem& p, const Tile& t) {
  return ceil_div(p.K, 4 * t.quads) * padded_outputs(p, t) / (t.columns() * t.lines()) * p.N;
}

/// `threads` threads side by side in the first of these ways that fits threadgroup memory and does
/// not make a quarter more outputs than need be.
std::optional<Tile> spread_threads(const ConvProblem& p, const Limits& limits, Tile t,
                                   int64_t threads, std::initializer_list<int64_t> widths) {
  std::vector<Tile> fitting;
  int64_t fewest = INT64_MAX;
  for (const int64_t width : widths) {
    t.lanes_x = width;
    t.lanes_y = threads / t.lanes_k / width;
    if (t.lanes_y == 0 || threadgroup_bytes(p, t) > int64_t(limits.threadgroup_bytes)) continue;
    fitting.push_back(t);
    fewest = std::min(fewest, padded_outputs(p, t));
  }
  for (const Tile& tile : fitting)
    if (padded_outputs(p, tile) * 4 <= fewest * 5) return tile;
  return {};
}

/// Large tiles reuse more, small ones leave no multiprocessor idle at the end: the largest of which
/// there are 5 for each. In NCHW wide, for long runs of stores; in NHWC, where runs go along the
/// channels, square. Orders and limits are those of an H100.
std::optional<Tile> window_tile(const ConvProblem& p, const Limits& limits) {
  const bool nhwc = p.layout == Layout::nhwc;
  std::optional<Tile> best;
  for (const auto& [rows, most_quads] : {std::pair{4, 16}, {2, 16}, {2, 8}, {1, 16}, {1, 8}}) {
    if (!holds_window(p, rows) || (nhwc && rows > 2)) continue;
    Tile t{true, p.C, rows, power_of_two(ceil_div(p.K, 4), most_quads)};
    t.lanes_k = nhwc ? std::min<int64_t>(t.quads, 4) : 1;
    const auto tile = nhwc ? spread_threads(p, limits, t, 128, {8, 4, 16, 32})
                           : spread_threads(p, limits, t, 128, {32, 16, 8});
    if (tile) best = tile;
    if (tile && threadgroups(p, *tile) >= 5 * int64_t(limits.compute_units)) break;
  }
  return best;
}

/// The tile of the most threads and channels that fits.
std::optional<Tile> rows_tile(const ConvProblem& p, const Limits& limits) {
  const bool nhwc = p.layout == Layout::nhwc;
  const int64_t quads = power_of_two(ceil_div(p.K, 4), nhwc ? 8 : 4);
  for (const int64_t rows : {2, 1})
    for (const int64_t threads : {128, 64, 32})
      for (const int64_t channels : {p.C, int64_t(1)}) {
        Tile t{false, channels, rows, quads};
        t.lanes_k = quads;
        const auto tile = nhwc ? spread_threads(p, limits, t, threads, {4, 8, 16})
                               : spread_threads(p, limits, t, threads, {8, 16, 32});
        if (tile) return tile;
      }
  return {};
}

std::optional<Tile> choose(const ConvProblem& p, const Limits& limits) {
  const auto window = window_tile(p, limits);
  return window ? window : rows_tile(p, limits);
}

std::string direct_refusal(const ConvProblem& p, const Limits& limits) {
  if (p.groups > 1) return fmt::format("groups is {}, the kernel does 1", p.groups);
  if (p.C > kMaxChannels)
    return fmt::format("C is {}, the kernel does {} input channels at most", p.C, kMaxChannels);
  constexpr int64_t kMaxWindow = 64;  // columns of a thread's row of the window, in registers
  const int64_t window = span(kPixels, p.stride_w, p.S, p.dilation_w);
  if (window > kMaxWindow)
    return fmt::format("4 neighbouring outputs read {} columns, the kernel holds {}", window,
                       kMaxWindow);
  if (!choose(p, limits))
    return fmt::format(
        "kernel {}x{} with stride {}x{} and dilation {}x{} needs tiles of more "
        "than {} bytes of threadgroup memory",
        p.R, p.S, p.stride_h, p.stride_w, p.dilation_h, p.dilation_w, limits.threadgroup_bytes);
  return {};
}

Recipe direct_recipe(const ConvProblem& p, const Limits& limits) {
  const Tile t = *choose(p, limits);
  const std::string file = t.window ? "direct" : "direct_rows";
  Recipe recipe;
  recipe.key = {file + ".metal", file, conv_macros(p)};
  recipe.key.macros.merge(window_macros(p));
  define(recipe.key.macros, {{"CHANNELS", t.channels},
                             {"ROWS", t.rows},
                             {"QUADS", t.quads},
                             {"LANES_K", t.lanes_k},
                             {"LANES_X", t.lanes_x},
                             {"LANES_Y", t.lanes_y}});
  recipe.shape = {spread(threadgroups(p, t)), {std::uint32_t(t.threads())}};
  recipe.packing = packing(p, 4 * t.quads, t.channels, false);
  recipe.detail = fmt::format("{}, tile of {} channels x {} x {} pixels, a thread {} x {} pixels",
                              t.window ? "window in registers" : "rows of the window", 4 * t.quads,
                              t.lines(), t.columns(), t.rows, kPixels);
  return recipe;
}

}  // namespace

ConvKernel direct_kernel() {
  ConvKernel kernel;
  kernel.name = "direct";
  kernel.summary =
      "few input channels: up to 4 rows a thread, tiles to suit the device, every kernel size; "
      "predicted: the memory's speed at every width";
  kernel.supports = direct_refusal;
  kernel.cost = [](const ConvProblem& p, const Limits& l) {
    return estimated_seconds(p, 0.7, l.rates);
  };
  kernel.recipe = direct_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
