// SPDX-License-Identifier: Apache-2.0
// 1x1 kernels without padding, any stride: a matrix product of weights and pixels. NCHW: a task
// copies its pixels into panels, [channel][pixel of a register tile], which every block of output
// channels then reads from the core's cache. NHWC: pixels of floats are read where they are, if
// they are not copied first for their distance's sake; those of halves are converted.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/call.h"
#include "cpu/general.h"
#include "cpu/rows.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

constexpr int64_t kMaxTile = 512;  // floats of the largest register tile
constexpr int kMaxPixels = 16;     // of a tile by channels
constexpr int64_t kTasksPerThread = 4;
constexpr double kStreamed = 1;    // cycles for a weight from the last-level cache
constexpr double kUneven = 0.125;  // of a task: the threads do not end together
constexpr int64_t kAhead = 8;      // channels that are fetched before they are needed

/// How outputs are divided among tasks.
struct Blocking {
  int64_t parts = 1;   ///< of an image's pixels, a task each
  int64_t splits = 1;  ///< tasks that share the output channels of the same pixels
};

/// Sizes that follow from the problem and the instruction set.
struct Sizes {
  Sizes(const Context& context, const ConvProblem& problem)
      : kernels(general::kernels_of(context.isa())),
        c(problem),
        nchw(problem.layout == Layout::nchw),
        halves(problem.dtype != DType::f32),
        lanes(kernels.lanes),
        C(problem.C_per_group()),
        K(problem.K_per_group()),
        Q(problem.Q()),
        plane(problem.P() * Q),
        wide(!nchw && kernels.wide_vectors > 0 && K > kernels.channel_vectors * lanes),
        block(nchw ? kernels.channels
                   : (wide ? kernels.wide_vectors : kernels.channel_vectors) * lanes),
        tile(nchw   ? kernels.pixel_vectors * lanes
             : wide ? kernels.wide_pixels
                    : kernels.pixels),
        room(int64_t(context.core_cache() / sizeof(float)) / 2 / C),
        most(slot_limit(problem, context.threads())),
        together(std::max(room / block, int64_t(1)) * block),
        stays(C * K <= int64_t(context.core_cache() / sizeof(float)) / 2),
        unit(nchw ? lanes : 1),
        blocking(choose(context.threads())),
        pixels(round_up(ceil_div(ceil_div(plane, unit), blocking.parts) * unit, tile)) {}

  /// Estimated seconds.
  double seconds(int threads) const {
    return 2e-6 + cycles(blocking, threads) / (kernels.rate * 1e9);
  }

  /// Whether a task copies its pixels: NHWC only halves, and those a multiple of 4 KiB apart, of
  /// which more are read in turn than one set of a cache has ways.
  bool copies() const {
    constexpr int64_t kAlias = 1024;
    return must_copy() || (c.C * c.stride_w % kAlias == 0 && fits());
  }
  bool must_copy() const { return nchw || halves; }
  bool fits() const { return slot() <= most; }
  /// Floats of a task's copied pixels.
  int64_t slot() const { return pixels * pitch(); }
  /// Floats from copied pixel to copied pixel (NHWC).
  int64_t pitch() const { return spread(C); }

  const general::Kernels& kernels;
  ConvProblem c;
  bool nchw, halves;
  int64_t lanes, C, K;
  int64_t Q;            ///< outputs of a row; all where rows follow each other
  int64_t plane;        ///< outputs of an image and channel
  bool wide;            ///< tiles of few pixels and many channels
  int64_t block, tile;  ///< output channels and pixels of a register tile
  int64_t room;         ///< pixels or output channels that take half of the core's cache
  int64_t most;         ///< floats of copied pixels, by the memory that there is
  int64_t together;     ///< NHWC: output channels whose weights stay there
  bool stays;           ///< all weights of a group do
  int64_t unit;         ///< pixels that are not parted
  Blocking blocking;
  int64_t pixels;  ///< of a task at most, whole register tiles

 private:
  /// In vector multiply-adds; fitted on Zen 3 and Zen 4, copies on a Xeon, too.
  double cycles(const Blocking& b, int threads) const {
    const double of_task = double(ceil_div(ceil_div(plane, unit), b.parts) * unit);
    const double tiles = std::ceil(of_task / double(tile));
    const double blocks = double(ceil_div(ceil_div(K, block), b.splits));
    // NHWC: the last block has fewer vectors (a tile of fewer than 8 sums waits for each of them),
    // and one block that is not full leaves through a buffer.
    const double filled = nchw ? 1
                               : std::max(double(round_up(K, lanes)) / double(round_up(K, block)),
                                          8.0 * double(lanes) / double(block * tile));
    const double buffered = !nchw && K < block && K % lanes != 0 ? 10 * of_task : 0;
    const double sums = filled * of_task * double(block) / double(lanes);
    const double fetch = (nchw ? c.stride_w > 1 ? 60 : 10 : 2) * of_task / double(lanes);
    // Weights that do not stay in the core's cache pass through it in every task.
    const double weights = stays ? 0 : kStreamed * blocks * double(block * C);
    const double task = 1000 + weights + blocks * (sums * (0.82 * double(C) + 3) + 30 * tiles) +
                        fetch * double(C) + buffered;
    const double tasks = double(std::max<int64_t>(c.N, 1) * c.groups * b.parts * b.splits);
    return (std::max(std::ceil(tasks / threads), tasks / threads) + kUneven) * task;
  }

  /// Half of the core's cache for copied pixels, the rest for the weights that pass.
  Blocking choose(int threads) const {
    const int64_t copied = must_copy() ? most / pitch() : room;
    const int64_t most_tiles =
        std::max(std::min({room, copied, plane, 16 * tile}) / tile, int64_t(1));
    const int64_t blocks = ceil_div(K, block);
    Blocking best;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t tiles = most_tiles; tiles > 0; tiles = tiles * 3 / 4)
      for (int64_t splits = 1; splits <= std::min<int64_t>(blocks, kTasksPerThread * threads);
           splits *= 2) {
        const Blocking b{std::max<int64_t>(ceil_div(plane, tiles * tile), 1), splits};
        const double estimate = cycles(b, threads);
        if (estimate < least) best = b, least = estimate;
      }
    return best;
  }
};

class Conv1x1 final : public PreparedConv {
 public:
  Conv1x1(const Context& context, const ConvProblem& problem)
      : context_(context),
        convert_(converter(context.isa(), problem.dtype)),
        s_(context, problem),
        c_(s_.c),
        slots_(context.threads(), s_.copies() ? s_.slot() : 0, bias_floats(problem)) {
    for (int64_t i = 0; i < s_.C; ++i) offsets_.push_back(i * s_.tile);
  }

  std::size_t packed_bytes() const override {
    return std::size_t(c_.groups * group_weights()) * sizeof(float);
  }
  std::size_t workspace_bytes() const override { return s_.copies() ? slots_.bytes() : 0; }
  std::string detail() const override {
    return fmt::format("{}, {} x {} in registers, {} pixels a task, {} splits", context_.isa(),
                       s_.nchw ? s_.block : s_.tile, s_.nchw ? s_.tile : s_.block, s_.pixels,
                       s_.blocking.splits);
  }

  /// [group][block][input channel][channel of the block].
  void pack(Queue&, const TensorView& w, Memory packed) const override {
    const Floats floats(convert_, w, c_.w_elements());
    auto* to = static_cast<float*>(packed.address());
    for (int64_t g = 0; g < c_.groups; ++g)
      for (int64_t k0 = 0; k0 < s_.K; k0 += s_.block) {
        const Block b = block(k0);
        const int64_t unit = s_.nchw ? 1 : s_.lanes, width = round_up(b.channels, unit);
        for (int64_t c = 0; c < s_.C; ++c)
          for (int64_t k = b.first; k < b.first + width; ++k)
            *to++ = k < s_.K ? floats.data()[(g * s_.K + k) * s_.C + c] : 0.0f;
      }
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const bool copies = s_.copies();
    const Call call(c_, x, packed, bias, y, convert_, copies ? slots_.head(workspace) : nullptr);
    const int64_t blocks = ceil_div(s_.K, s_.block), splits = s_.blocking.splits;
    const int64_t parts = s_.blocking.parts, units = ceil_div(s_.plane, s_.unit);
    context_.parallel_for(c_.N * c_.groups * parts * splits, [&](int64_t i) {
      Task task;
      const int64_t split = i % splits, part = i / splits % parts;
      task.g = i / splits / parts % c_.groups;
      task.n = i / splits / parts / c_.groups;
      task.first = part * units / parts * s_.unit;
      task.pixels = std::min((part + 1) * units / parts * s_.unit, s_.plane) - task.first;
      task.k_begin = split * blocks / splits * s_.block;
      task.k_end = std::min((split + 1) * blocks / splits * s_.block, s_.K);
      float* slot = copies ? slots_.mine(workspace) : nullptr;
      if (s_.nchw)
        by_pixels(call, task, slot);
      else
        by_channels(call, task, slot);
    });
  }

 private:
  /// Output channels [k_begin, k_end) of one group, pixels [first, first + pixels) of an image.
  struct Task {
    int64_t n, g, first, pixels, k_begin, k_end;
  };

  /// Output channels of a group that share register tiles.
  struct Block {
    int64_t first, channels;
  };
  /// That from k on. NHWC: vectors that would not be full take up channels of the block before
  /// them, which the same task writes, the same values.
  Block block(int64_t k) const {
    const int64_t end = std::min(k + s_.block, s_.K);
    const bool overlaps = !s_.nchw && s_.blocking.splits == 1 && k > 0;
    const int64_t first = overlaps ? end - round_up(end - k, s_.lanes) : k;
    return {first, end - first};
  }

  int64_t padded_K() const { return s_.nchw ? s_.K : round_up(s_.K, s_.lanes); }
  int64_t group_weights() const { return padded_K() * s_.C; }
  /// Pixel of an input plane that output pixel i reads.
  int64_t source(int64_t i) const {
    const int64_t row = i < s_.Q ? 0 : i / s_.Q;
    return row * c_.stride_h * c_.W + (i - row * s_.Q) * c_.stride_w;
  }

  /// That of the block of channels from k on; `bias` lives as long as it does.
  general::Sum sum(const Call& call, const Task& task, int64_t k, general::BlockBias* bias) const {
    static constexpr int64_t kNowhere = 0;
    general::Sum sum{};
    sum.w = call.w + task.g * group_weights() + k * s_.C;
    sum.outer = &kNowhere;
    sum.outer_count = 1;
    sum.inner = offsets_.data();
    sum.inner_count = s_.C;
    const int64_t first = block(k).first;
    sum.bias =
        bias->of(call.bias ? call.bias + task.g * s_.K + first : nullptr, s_.K - first, s_.block);
    sum.activate(c_.activation);
    return sum;
  }

  // -- NCHW: vectors of pixels --

  void by_pixels(const Call& call, const Task& task, float* panels) const {
    alignas(64) float tile[kMaxTile];
    general::BlockBias bias;
    for (int64_t at = 0; at < task.pixels; at += s_.tile)
      fill_panel(call, task, task.first + at, std::min(s_.tile, task.pixels - at),
                 panels + at * s_.C);
    for (int64_t k = task.k_begin; k < task.k_end; k += s_.block) {
      const int64_t channels = block(k).channels;
      general::Sum sums = sum(call, task, k, &bias);
      const int64_t y = (task.n * c_.K + task.g * s_.K + k) * s_.plane + task.first;
      for (int64_t at = 0; at < task.pixels; at += s_.tile) {
        const int64_t count = std::min(s_.tile, task.pixels - at);
        const int64_t vectors = ceil_div(count, s_.lanes);
        sums.x = panels + at * s_.C;
        if (count == vectors * s_.lanes && !s_.halves) {
          s_.kernels.by_pixels(int(channels), int(vectors), sums, call.floats(y + at), s_.plane);
          continue;
        }
        s_.kernels.by_pixels(int(channels), int(vectors), sums, tile, s_.tile);
        for (int64_t i = 0; i < channels; ++i)
          call.store(tile + i * s_.tile, count, y + at + i * s_.plane);
      }
    }
  }

  /// `count` output pixels from `first` on, all channels; what is left of the panel is zeros.
  void fill_panel(const Call& call, const Task& task, int64_t first, int64_t count,
                  float* panel) const {
    const int64_t size = c_.H * c_.W;
    int64_t x = (task.n * c_.C + task.g * s_.C) * size;
    for (int64_t c = 0; c < s_.C; ++c, x += size, panel += s_.tile) {
      if (c_.stride_h == 1 && c_.stride_w == 1) {
        // Pieces of rows are too short for the hardware to see them coming.
        const int64_t ahead = x + std::min(kAhead, s_.C - 1 - c) * size + first;
        for (int64_t i = 0; i < count; i += kLine)
          __builtin_prefetch(convert_.at(call.x, ahead + i));
        convert_.to_f32(convert_.at(call.x, x + first), panel, count);
      } else {
        gather_pixels(call, x, first, count, panel);
      }
      std::fill(panel + count, panel + s_.tile, 0.0f);
    }
  }
  /// Of the plane from element x on, row of outputs by row.
  void gather_pixels(const Call& call, int64_t x, int64_t first, int64_t count, float* to) const {
    for (int64_t i = first, end; i < first + count; to += end - i, i = end) {
      end = std::min(first + count, (i / s_.Q + 1) * s_.Q);
      convert_.every(c_.stride_w, convert_.at(call.x, x + source(i)), to, end - i);
    }
  }

  // -- NHWC: vectors of channels --

  /// `slot` takes copied pixels; others are read where they are.
  void by_channels(const Call& call, const Task& task, float* slot) const {
    const int64_t x = task.n * c_.H * c_.W * c_.C + task.g * s_.C;
    for (int64_t i = 0; slot && i < task.pixels; ++i)
      convert_.to_f32(convert_.at(call.x, x + source(task.first + i) * c_.C), slot + i * s_.pitch(),
                      s_.C);
    const int64_t tiles = ceil_div(task.pixels, s_.tile);
    // All channels of a few pixels, so that y is written in long pieces; but no more weights at a
    // time than stay in the core's cache.
    for (int64_t k = task.k_begin, end; k < task.k_end; k = end) {
      end = std::min(k + s_.together, task.k_end);
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t first = t * task.pixels / tiles;
        tile_of_channels(call, task, slot ? slot : static_cast<const float*>(call.x) + x,
                         {k, end, first, (t + 1) * task.pixels / tiles - first});
      }
    }
  }

  /// Channels [k_begin, k_end), `count` pixels of the task from `first` on.
  struct Part {
    int64_t k_begin, k_end, first, count;
  };

  void tile_of_channels(const Call& call, const Task& task, const float* x,
                        const Part& part) const {
    alignas(64) float tile[kMaxTile];
    general::BlockBias bias;
    int64_t from[kMaxPixels], to[kMaxPixels], in_tile[kMaxPixels];
    const int64_t first = task.first + part.first, pitch = s_.pitch();
    const bool copies = s_.copies();
    int64_t at = source(first), row_end = first / s_.Q * s_.Q + s_.Q;
    for (int64_t i = 0; i < part.count; ++i) {
      to[i] = first + i;
      from[i] = copies ? (part.first + i) * pitch : at * c_.C;
      in_tile[i] = i;
      at += c_.stride_w;
      if (to[i] + 1 == row_end) at = source(row_end), row_end += s_.Q;
    }
    for (int64_t k = part.k_begin; k < part.k_end; k += s_.block) {
      general::Sum sums = sum(call, task, k, &bias);
      sums.x = x;
      const Block b = block(k);
      const int64_t y = task.n * s_.plane * c_.K + task.g * s_.K + b.first;
      const int64_t vectors = ceil_div(b.channels, s_.lanes);
      if (b.channels == vectors * s_.lanes && !s_.halves) {
        s_.kernels.by_channels(int(part.count), int(vectors), sums, from, call.floats(y), to, c_.K);
        continue;
      }
      // A pixel ends where the next begins, which overwrites what is no channel.
      s_.kernels.by_channels(int(part.count), int(vectors), sums, from, tile, in_tile, b.channels);
      const bool dense = b.channels == c_.K;
      const int64_t runs = dense ? 1 : part.count, run = dense ? part.count * c_.K : b.channels;
      for (int64_t i = 0; i < runs; ++i) call.store(tile + i * run, run, y + to[i] * c_.K);
    }
  }

  const Context& context_;
  const Converter& convert_;
  Sizes s_;
  const ConvProblem& c_;          ///< the one in s_
  Slots slots_;                   ///< panels, or the pixels of a task
  std::vector<int64_t> offsets_;  ///< of the input channels in a panel
};

}  // namespace

KernelRow conv1x1_row(const Context& context) {
  KernelRow row;
  row.name = "conv1x1";
  row.summary = "1x1 without padding: a matrix product of weights and pixels";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.supports = [](const ConvProblem& c) -> std::string {
    if (c.R != 1 || c.S != 1) return fmt::format("the kernel is {}x{}, must be 1x1", c.R, c.S);
    if (c.pad_top + c.pad_left + c.pad_bottom + c.pad_right > 0) return "there is padding";
    return {};
  };
  row.cost = [&context](const ConvProblem& p) {
    const Sizes sizes(context, without_rows(p));
    const bool too_large = sizes.must_copy() && !sizes.fits();
    return too_large ? std::numeric_limits<double>::infinity() : sizes.seconds(context.threads());
  };
  row.make = [&context](const ConvProblem& p) {
    return std::make_unique<Conv1x1>(context, without_rows(p));
  };
  return row;
}

}  // namespace metalconv::cpu
