// SPDX-License-Identifier: Apache-2.0
#include "cuda/hopper/tiles.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "gpu/conv.h"

namespace metalconv::cuda::hopper {
namespace {

using gpu::ceil_div;
using std::int64_t;

constexpr int64_t kRowBytes = 128;     // of a row of factors in shared memory
constexpr int64_t kMaxTaps = 15;       // along an axis: the kernel has bits for so many
constexpr int64_t kLeastChannels = 8;  // fewer are for kernels that cross taps better
constexpr int64_t kMaxStages = 6;
constexpr int64_t kCachedWeights = 8 << 20;  // bytes

struct Shape {
  int row_blocks, consumers, columns;
  int blocks;  ///< on a multiprocessor

  int64_t rows() const { return int64_t(64) * row_blocks * consumers; }
};

// Sums fill up to 128 registers of a thread, and twice as many where they are promoted (f32).
constexpr Shape kShapes[] = {{2, 2, 128, 1}, {1, 2, 256, 1}, {2, 2, 64, 1}, {1, 2, 128, 1},
                             {1, 1, 128, 2}, {2, 1, 64, 2},  {1, 1, 64, 3}, {1, 2, 160, 1},
                             {1, 2, 192, 1}, {1, 2, 96, 1},  {2, 1, 32, 2}, {2, 1, 16, 2}};
constexpr Shape kShapesF32[] = {{1, 2, 128, 1}, {1, 2, 160, 1}, {1, 2, 96, 1}, {1, 2, 64, 1},
                                {1, 1, 64, 2},  {1, 2, 32, 1},  {1, 1, 32, 2}, {1, 2, 16, 1}};

/// A shape, and how it meets the problem.
struct Tile {
  Shape shape{};
  bool halo = false;  ///< inputs are fetched once for all taps
  bool lines = false;
  int64_t tile_h = 0, tile_w = 0, cover_h = 0, cover_w = 0, pitch = 1, halo_rows = 0;
  int64_t tiles = 0, blocks = 0, steps = 0, stages = 0, splits = 1, k_steps = 4;

  int64_t x_bytes() const { return ceil_div(halo_rows * kRowBytes, 1024) * 1024; }
};

int64_t element_size(Kind kind) { return kind == Kind::f16 || kind == Kind::bf16 ? 2 : 4; }
int64_t planes(Kind kind) { return kind == Kind::f32 ? 2 : 1; }
int64_t weight_bytes(const Shape& s, Kind kind) { return s.columns * kRowBytes * planes(kind); }

/// Of shared memory, for `blocks` on a multiprocessor: each also has barriers, and 1 KiB of the
/// system's.
int64_t shared_limit(int blocks) { return 233472 / blocks - 1280; }

/// Without the stages: alignment, what stores pass through, and inputs.
int64_t fixed_bytes(const Tile& t) {
  return 1024 + int64_t(t.shape.consumers) * 4 * 2048 + (t.halo ? 2 * t.x_bytes() : 0);
}
int64_t stage_bytes(const Tile& t, Kind kind) {
  return weight_bytes(t.shape, kind) + (t.halo ? 0 : t.shape.rows() * kRowBytes);
}

/// Products of 32 bytes of a row, in a step with shared inputs: 4, or 2 or 1 where channels want
/// it.
int64_t k_steps(const ConvProblem& p, Kind kind) {
  const int64_t all = p.C_per_group() * element_size(kind) / 32;
  return all % 4 == 0 ? 4 : all % 2 == 0 ? 2 : 1;
}

bool may_halo(const ConvProblem& p, Kind kind) {
  return p.stride_h == 1 && p.stride_w == 1 && p.R * p.S > 1 &&
         p.C_per_group() * element_size(kind) % 32 == 0;
}

/// The ways in which a shape can cover the outputs; those that shared memory has no room for too.
std::vector<Tile> tiles_of(const ConvProblem& p, Kind kind, const Shape& shape) {
  std::vector<Tile> all;
  const int64_t row_channels = kRowBytes / element_size(kind), rows = shape.rows();
  Tile t;
  t.shape = shape;
  t.blocks = ceil_div(p.K_per_group(), shape.columns);
  t.steps = ceil_div(p.R * p.S * p.C_per_group(), row_channels);
  t.tiles = ceil_div(p.N * p.P() * p.Q(), rows);
  all.push_back(t);
  if (!may_halo(p, kind) || shape.blocks > 2) return all;
  t.halo = true;
  t.k_steps = k_steps(p, kind);
  t.steps = p.C_per_group() * element_size(kind) / 32 / t.k_steps;
  const int64_t reach_h = (p.R - 1) * p.dilation_h, reach_w = (p.S - 1) * p.dilation_w;
  // Positions one after the other: zeros between two lines, or images, are of both.
  t.lines = true;
  t.cover_h = p.H + std::max(p.pad_top, p.pad_bottom);
  t.cover_w = p.W + std::max(p.pad_left, p.pad_right);
  t.halo_rows = rows + reach_h * t.cover_w + reach_w;
  t.tiles = ceil_div(p.N * t.cover_h * t.cover_w, rows);
  if (p.P() <= t.cover_h && p.Q() <= t.cover_w && t.halo_rows < 4096 &&
      p.N * t.cover_h * t.cover_w < kMaxOffset)
    all.push_back(t);
  t.lines = false;
  for (int64_t down = 1; down <= rows / 64; down *= 2) {
    t.tile_h = 8 * down, t.tile_w = rows / t.tile_h;
    t.cover_h = ceil_div(p.P(), t.tile_h), t.cover_w = ceil_div(p.Q(), t.tile_w);
    t.pitch = t.tile_w + reach_w;
    t.halo_rows = (t.tile_h + reach_h) * t.pitch;
    t.tiles = p.N * t.cover_h * t.cover_w;
    if (t.halo_rows < 4096) all.push_back(t);
  }
  return all;
}

/// Of the GPU. Fitted to 300 times of kernels on an H100, see docs/design.md.
double cycles(const ConvProblem& p, Kind kind, const Tile& t, double units) {
  constexpr double kProducts = 2048;       // of 2 bytes, in a cycle of a multiprocessor
  constexpr double kNarrow = 16;           // columns' worth of reading the rows
  constexpr double kGather = 50.0 / 1024;  // a byte of inputs, by chunks of 16 bytes
  constexpr double kWeights = 8.4 / 1024;  // a byte of weights, in bulk
  constexpr double kHalo = 57.0 / 1024;    // a byte of inputs under a tile
  constexpr double kSlab = 785;            // to begin on other channels
  constexpr double kTile = 3400, kOutput = 53.0 / 1024;  // to store the sums
  constexpr double kStart = 6000, kSplit = 530;
  constexpr double kPartials = 20, kMemory = 12;  // bytes in a cycle
  const bool rounds = kind == Kind::tf32 || kind == Kind::f32;
  const double slow = kind == Kind::f32 ? 1.05 * 3 : 1.05;
  const double factors = t.shape.row_blocks * (0.4 + 0.15 * double(t.k_steps)) *
                         (kind == Kind::f32 ? (t.halo ? 1040 : 900)
                          : rounds          ? 197
                                            : 218);
  const double rows = double(t.shape.rows()), columns = t.shape.columns;
  const double products = rows * (columns + kNarrow) * 16 * double(t.k_steps) / kProducts * slow;
  const double weights = kWeights * double(weight_bytes(t.shape, kind));
  const double taps = double(p.R * p.S), steps = double(ceil_div(t.steps, t.splits));
  // Rows of several taps come from several places.
  const double gather = kGather * (p.C_per_group() * element_size(kind) < kRowBytes ? 1.5 : 1);
  const double step = t.halo
                          ? std::max(taps * std::max({products, weights, factors}) + kSlab,
                                     kHalo * double(t.halo_rows * 32 * t.k_steps) + taps * weights)
                          : std::max({products, gather * rows * kRowBytes + weights, factors});
  const double work = steps * step;
  const double ending = kTile + kOutput * rows * columns * (rounds || t.splits > 1 ? 2 : 1);
  const int64_t items = t.tiles * t.blocks * p.groups * t.splits;
  const int64_t slots = int64_t(units) * t.shape.blocks, waves = items / slots;
  double total = kStart + double(waves) * std::max(t.shape.blocks * work, work + ending);
  if (const int64_t rest = items - waves * slots; rest > 0)
    total += std::max(std::ceil(double(rest) / units) * work, work) + ending;
  if (t.splits > 1)
    total += kSplit + double(p.y_elements()) * 8 * double(t.splits) / units / kPartials;
  // Where memory decides, still the one with less else to do.
  return std::max(total, kStart + p.min_bytes() / units / kMemory) + total / 10;
}

Tile choose(const ConvProblem& p, Kind kind, double units) {
  constexpr int64_t kSplits[] = {1, 2, 3, 4, 6, 8};
  constexpr int64_t kMaxPartials = int64_t(1) << 27;  // elements
  Tile best;
  double least = HUGE_VAL;
  const std::span<const Shape> shapes =
      kind == Kind::f32 ? std::span<const Shape>(kShapesF32) : std::span<const Shape>(kShapes);
  for (const Shape& shape : shapes) {
    // No tile of which half and more would be empty, where there is a narrower one.
    if (shape.columns > 16 && shape.columns >= 2 * ceil_div(p.K_per_group(), 16) * 16) continue;
    for (Tile t : tiles_of(p, kind, shape)) {
      const int64_t room = shared_limit(shape.blocks) - fixed_bytes(t);
      t.stages = std::min(room / stage_bytes(t, kind), kMaxStages);
      if (t.stages < 3) continue;
      for (const int64_t splits : kSplits) {
        t.splits = splits;
        // A part of the reduction is four taps or more.
        const int64_t steps = t.halo ? t.steps * p.R * p.S : t.steps;
        if (splits > 1 &&
            (splits > t.steps || steps < 4 * splits || p.y_elements() * splits > kMaxPartials))
          continue;
        const double estimate = cycles(p, kind, t, units);
        if (estimate < least) least = estimate, best = t;
      }
    }
  }
  return best;
}

Divisor divisor(int64_t by) {
  const auto d = std::uint64_t(std::max<int64_t>(by, 1));  // 0: nothing is divided
  if (d == 1) return {1, 0, 0};
  const int shift = std::bit_width(d - 1) - 1;  // ceil(log2(d)) - 1
  return {int(d), unsigned(((std::uint64_t(1) << (32 + shift)) + d - 1) / d), unsigned(shift)};
}

HopperParams params_of(const ConvProblem& p, const Tile& t) {
  HopperParams params = sizes_of(p);
  params.tiles = int(t.tiles), params.blocks = int(t.blocks);
  params.steps = int(t.steps), params.splits = int(t.splits);
  params.items = int(t.tiles * t.blocks * p.groups * t.splits);
  params.lines = t.lines;
  params.tile_h = int(t.tile_h), params.tile_w = int(t.tile_w);
  params.cover_h = int(t.cover_h), params.cover_w = int(t.cover_w);
  params.pitch = int(t.pitch);
  params.halo_rows = int(t.halo_rows), params.x_bytes = t.halo ? int(t.x_bytes()) : 0;
  params.by_blocks = divisor(t.blocks), params.by_groups = divisor(p.groups);
  params.by_tiles = divisor(t.tiles);
  params.by_image = divisor(t.halo ? t.cover_h * t.cover_w : p.P() * p.Q());
  params.by_row = divisor(t.halo ? t.cover_w : p.Q());
  params.by_pitch = divisor(t.pitch);
  return params;
}

/// "%3, %4, %5"
std::string numbered(int first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("{}%{}", i > 0 ? ", " : "", first + i);
  return text;
}

std::string detail_of(const Tile& t) {
  std::string text =
      fmt::format("tile of {} pixels x {} channels, ", t.shape.rows(), t.shape.columns);
  if (!t.halo)
    text += "inputs gathered for each tap";
  else if (t.lines)
    text += "inputs shared by the taps, in lines";
  else
    text += fmt::format("inputs shared by the taps, {} x {}", t.tile_h, t.tile_w);
  if (t.splits > 1) text += fmt::format(", reduction in {} parts", t.splits);
  return text;
}

}  // namespace

Kind kind_of(const ConvProblem& p) {
  if (p.dtype == DType::f16) return Kind::f16;
  if (p.dtype == DType::bf16) return Kind::bf16;
  return p.precision == Precision::tf32 ? Kind::tf32 : Kind::f32;
}

HopperParams sizes_of(const ConvProblem& p) {
  HopperParams params{};
  params.N = int(p.N), params.C = int(p.C), params.H = int(p.H), params.W = int(p.W);
  params.K = int(p.K), params.P = int(p.P()), params.Q = int(p.Q());
  params.R = int(p.R), params.S = int(p.S);
  params.groups = int(p.groups);
  // Where there is one output, or one tap, they are not asked for, and may not fit an int.
  params.stride_h = p.P() == 1 ? 1 : int(p.stride_h);
  params.stride_w = p.Q() == 1 ? 1 : int(p.stride_w);
  params.pad_top = int(p.pad_top), params.pad_left = int(p.pad_left);
  params.dilation_h = p.R == 1 ? 1 : int(p.dilation_h);
  params.dilation_w = p.S == 1 ? 1 : int(p.dilation_w);
  params.pixels = int(p.N * p.P() * p.Q());
  return params;
}

// The instruction has a register for each sum of a thread: too many to be written down for each
// width.
std::string wgmma_text(Kind kind, int columns) {
  const int sums = columns / 2;
  const bool halves = kind == Kind::f16 || kind == Kind::bf16;
  const char* type = kind == Kind::f16 ? "f16" : kind == Kind::bf16 ? "bf16" : "tf32";
  std::string outputs;
  for (int i = 0; i < sums; ++i) outputs += fmt::format("{}\"+f\"(d[{}])", i > 0 ? ", " : "", i);
  const int left = halves ? 1 : 4;  // operands: a descriptor, or registers
  return fmt::format(
      "static __device__ __forceinline__ void wgmma(float (&d)[{0}], {1}, unsigned long long b, "
      "int add) {{\n"
      "  asm volatile(\"{{ .reg .pred p; setp.ne.b32 p, %{2}, 0; "
      "wgmma.mma_async.sync.aligned.m64n{3}k{4}.f32.{5}.{5} {{{6}}}, {7}, %{8}, p, 1, 1{9}; }}\"\n"
      "    : {10} : {11}, \"l\"(b), \"r\"(add));\n"
      "}}\n",
      sums, halves ? "unsigned long long a" : "const unsigned int (&a)[4]", sums + left + 1,
      columns, halves ? 16 : 8, type, numbered(0, sums),
      halves ? numbered(sums, 1) : "{" + numbered(sums, 4) + "}", sums + left,
      halves ? ", 0, 0" : "", outputs,
      halves ? "\"l\"(a)" : "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])");
}

std::string refusal(const ConvProblem& p) {
  const int64_t chunk = 16 / element_size(kind_of(p));
  if (p.C_per_group() % chunk != 0 || p.C_per_group() < kLeastChannels)
    return fmt::format("C/groups is {}, but must be a multiple of {}, and {} or more",
                       p.C_per_group(), chunk, kLeastChannels);
  if (p.R > kMaxTaps || p.S > kMaxTaps)
    return fmt::format("the kernel is {} x {}, but at most {} x {} are done", p.R, p.S, kMaxTaps,
                       kMaxTaps);
  if (p.x_elements() >= kMaxOffset || p.N * p.P() * p.Q() >= kMaxOffset ||
      p.N * p.P() * p.Q() / 64 * p.K >= kMaxOffset)
    return "the tensors are too large for offsets of 31 bits";
  return {};
}

Recipe recipe(const ConvProblem& p, std::uint32_t multiprocessors) {
  const Kind kind = kind_of(p);
  const Tile t = choose(p, kind, multiprocessors);
  Recipe recipe;
  const std::pair<const char*, int64_t> macros[] = {{"KIND", int64_t(kind)},
                                                    {"HALO", t.halo},
                                                    {"ROW_BLOCKS", t.shape.row_blocks},
                                                    {"CONSUMERS", t.shape.consumers},
                                                    {"COLUMNS", t.shape.columns},
                                                    {"STAGES", t.stages},
                                                    {"BLOCKS", t.shape.blocks},
                                                    {"K_STEPS", t.k_steps},
                                                    {"PARTIAL", t.splits > 1}};
  for (const auto& [name, value] : macros) recipe.macros[name] = std::to_string(value);
  // Of the registers that blocks may have, fetching needs few.
  if (t.shape.consumers == 2 && t.shape.blocks == 1)
    recipe.macros["PRODUCER_REGISTERS"] = "72", recipe.macros["CONSUMER_REGISTERS"] = "216";
  if (t.shape.consumers == 1 && t.shape.blocks == 2)
    recipe.macros["PRODUCER_REGISTERS"] = "80", recipe.macros["CONSUMER_REGISTERS"] = "176";
  recipe.files = {"units.cuh", "places.cuh", "conv.cu", "ends.cu"};
  recipe.prelude = wgmma_text(kind, t.shape.columns);
  recipe.params = params_of(p, t);
  recipe.threads = std::uint32_t(128 * (t.shape.consumers + 1));
  recipe.groups = std::uint32_t(
      std::min<int64_t>(recipe.params.items, int64_t(multiprocessors) * t.shape.blocks));
  recipe.shared_bytes = std::size_t(fixed_bytes(t) + t.stages * stage_bytes(t, kind));
  recipe.packed_bytes =
      p.groups * t.blocks * t.steps * (t.halo ? p.R * p.S : 1) * weight_bytes(t.shape, kind);
  recipe.params.groups_last = recipe.packed_bytes > kCachedWeights;
  recipe.detail = detail_of(t);
  return recipe;
}

}  // namespace metalconv::cuda::hopper
