// SPDX-License-Identifier: Apache-2.0
// Direct convolution for few input channels. A task is a tile of output rows: it copies the input
// rows that the tile reads into a strip, then runs one block of output channels after the other
// over it, so that the strip is read from the core's own cache and few planes are written at once.
// Outputs of halves leave through a room that stays in L1.
#include <fmt/format.h>
#include <hwy/cache_control.h>

#include <algorithm>
#include <limits>
#include <span>

#include "cpu/call.h"
#include "cpu/cut.h"
#include "cpu/direct_kernels.h"
#include "cpu/rows.h"
#include "cpu/strip.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

constexpr int64_t kMostChannels = 16;  // of a group; beyond, weights no longer stay in L1 ...
constexpr int64_t kMostOfOneTap = 48;  // ... and of 1x1 kernels in NHWC: conv1x1 is as fast
constexpr int64_t kRoom = 4 << 10;     // floats that become halves together; half of a 32 KiB L1

/// Seconds. 1.15e11 operations a second and thread with whole vectors and whole blocks, measured on
/// Zen 4 and Zen 3 (AVX-512 and AVX2, 3 -> 64 channels) less what vectors and blocks leave unused;
/// a row of a strip, and in NCHW of each channel, costs about 40 ns to begin.
/// NHWC begins sooner: 8 and 16 channels, 1x1 and 3x3, on Zen 3.
double estimate(const ConvProblem& c, int lanes, int threads) {
  const bool nchw = c.layout == Layout::nchw;
  const int64_t along = nchw ? c.Q() : c.K_per_group();
  const double filled = double(along) / double(round_up(along, lanes));
  // A lone channel or pixel does one multiply-add a load.
  const int64_t across = nchw ? c.K_per_group() : c.Q();
  const double reuse = across >= 4 ? 1 : 0.25 * double(across);
  const double rows =
      double(c.N * (nchw ? c.C : c.groups) * c.P()) * (double(c.R - 1) / double(c.stride_h) + 1);
  return (nchw ? 1e-5 : 4e-6) + c.flops() / (1.15e11 * threads * filled * reuse) +
         40e-9 * rows / threads;
}

class Direct final : public PreparedConv {
 public:
  Direct(const Context& context, const ConvProblem& problem)
      : context_(context),
        c_(problem),
        kernels_(row_kernels(context.isa())),
        convert_(converter(context.isa(), problem.dtype)),
        cut_(cut_for(context, problem)),
        strip_(context.isa(), problem, order_of(problem), cut_.rows(), cut_.columns(), kLine),
        taps_(strip_.taps()),
        part_(convert_.halves() ? std::min(columns_of_part(problem, kernels_), cut_.columns())
                                : cut_.columns()),
        // Tiles may read, and drop, up to a tile of pixels past the end.
        strip_room_(round_up(strip_.floats() + kernels_.nchw_pixels, kLine)),
        slots_(context.threads(),
               strip_room_ + (convert_.halves() ? part_ * channels_of_part(problem, kernels_) : 0),
               bias_floats(problem)) {
    add_blocks();
  }

  static Cut cut_for(const Context& context, const ConvProblem& problem) {
    const RowKernels& kernels = row_kernels(context.isa());
    const bool halves = problem.dtype != DType::f32;
    const int64_t part =
        halves ? columns_of_part(problem, kernels) * channels_of_part(problem, kernels) : 0;
    return Cut(context, problem, kernels.nchw_pixels + kLine + part,
               [&](int64_t rows, int64_t columns) {
                 return StripSizes(problem, order_of(problem), rows, columns, kLine, 0).floats;
               });
  }

  std::size_t packed_bytes() const override {
    return std::size_t(c_.groups * group_weights_) * sizeof(float);
  }

  /// A strip a thread.
  std::size_t workspace_bytes() const override { return slots_.bytes(); }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    const Floats floats(convert_, w, c_.w_elements());
    const float* from = floats.data();
    auto* to = static_cast<float*>(packed.address());
    const int64_t taps = int64_t(taps_.size());
    for (int64_t g = 0; g < c_.groups; ++g)
      for (const Channels& block : blocks_)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t i = 0; i < block.width; ++i)
            *to++ =
                i < block.channels ? from[(g * c_.K_per_group() + block.first + i) * taps + t] : 0;
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const Call call(c_, x, packed, bias, y, convert_, slots_.head(workspace));
    const bool stream = cut_.streams(call.y, kernels_.lanes);
    context_.parallel_for(cut_.tasks(), [&](int64_t i) {
      run_task(call, cut_.task(i), slots_.mine(workspace), stream);
      if (stream) hwy::FlushStream();
    });
  }

  std::string detail() const override {
    const bool nchw = c_.layout == Layout::nchw;
    const int64_t width = blocks_.front().width;
    return fmt::format("{}, {} channels x {} pixels, {} rows a task", context_.isa(), width,
                       nchw ? kernels_.nchw_pixels : kernels_.nhwc_pixels, cut_.rows());
  }

 private:
  /// Output channels of a group that go together.
  struct Channels {
    int64_t first, channels, width;  ///< width: channels and what pads them to whole vectors
    int64_t weights;                 ///< offset into the group's packed weights
    RowKernels::Row run;
  };
  /// Neighbouring outputs of a row of a task.
  struct Part {
    int64_t row, q, columns;
  };
  /// Where a part goes: as RowRun::y and y_step.
  struct Target {
    float* y;
    int64_t step;
    bool stream;
  };

  static Order order_of(const ConvProblem& c) {
    return c.layout == Layout::nchw ? Order::pixels_last : Order::channels_last;
  }
  /// That are computed before any leaves: a block's, or all where they are neighbours in y.
  static int64_t channels_of_part(const ConvProblem& c, const RowKernels& kernels) {
    return c.layout == Layout::nchw ? (int64_t(1) << (kernels.nchw_blocks - 1)) : c.K_per_group();
  }
  /// Of halves.
  static int64_t columns_of_part(const ConvProblem& c, const RowKernels& kernels) {
    const int64_t least = c.layout == Layout::nchw ? kernels.nchw_pixels : kernels.nhwc_pixels;
    return std::max(kRoom / channels_of_part(c, kernels), least);
  }
  void add_blocks() {
    const bool nchw = c_.layout == Layout::nchw;
    const int entries = nchw ? kernels_.nchw_blocks : kernels_.nhwc_blocks;
    for (int64_t first = 0; first < c_.K_per_group();) {
      const int64_t left = c_.K_per_group() - first;
      int entry = entries - 1;
      if (nchw)
        while (kernels_.nchw_channels[entry] > left) --entry;
      else
        entry = int(std::min<int64_t>(entry, ceil_div(left, kernels_.lanes) - 1));
      const int64_t width = nchw ? kernels_.nchw_channels[entry] : (entry + 1) * kernels_.lanes;
      // NHWC: vectors that would not be full take up channels of the block before them.
      if (left < width && first > 0) first -= width - left;
      blocks_.push_back({first, std::min(c_.K_per_group() - first, width), width, group_weights_,
                         nchw ? kernels_.nchw[entry] : kernels_.nhwc[entry]});
      group_weights_ += width * int64_t(taps_.size());
      first += width;
    }
  }

  void run_task(const Call& call, const Block& at, float* strip, bool stream) const {
    strip_.fill(call.x, at, strip);
    const std::span<const Channels> all(blocks_);
    // NCHW: rows outside, 64 planes written in turn, was 3 % slower; chunks of a row outside, 8 %.
    const std::size_t together = c_.layout == Layout::nchw ? 1 : all.size();
    for (std::size_t i = 0; i < all.size(); i += together)
      for (int64_t row = 0; row < at.rows; ++row)
        for (int64_t q = 0; q < at.columns; q += part_)
          run_part(call, strip, all.subspan(i, together), at,
                   {row, q, std::min(part_, at.columns - q)}, stream);
  }

  void run_part(const Call& call, float* strip, std::span<const Channels> blocks, const Block& at,
                const Part& part, bool stream) const {
    const int64_t k = at.g * c_.K_per_group() + blocks.front().first;
    const int64_t p = at.p + part.row, q = at.q + part.q, P = c_.P(), Q = c_.Q();
    const bool nchw = c_.layout == Layout::nchw;
    const int64_t y =
        nchw ? ((at.n * c_.K + k) * P + p) * Q + q : ((at.n * P + p) * Q + q) * c_.K + k;
    const int64_t step = nchw ? P * Q : c_.K;
    const bool halves = convert_.halves();
    float* room = strip + strip_room_;
    const int64_t width = nchw ? part_ : c_.K_per_group();
    run_blocks(call, strip, blocks, at, part,
               {halves ? room : call.floats(y), halves ? width : step, stream && !halves});
    if (!halves) return;
    const int64_t rows = nchw ? blocks.front().channels : part.columns;
    rows_from_f32(convert_, room, width, convert_.at(call.y, y), step, rows,
                  nchw ? part.columns : width, stream);
  }

  void run_blocks(const Call& call, const float* strip, std::span<const Channels> blocks,
                  const Block& at, const Part& part, const Target& target) const {
    RowRun run;
    run.x = strip + strip_.place(part.row, part.q);
    run.taps = taps_.data();
    run.tap_count = int64_t(taps_.size());
    run.x_step = strip_.column_step();
    run.y_step = target.step;
    run.pixels = part.columns;
    run.activation = c_.activation;
    run.stream = target.stream;
    for (const Channels& block : blocks) {
      run.w = call.w + at.g * group_weights_ + block.weights;
      run.bias = call.bias ? call.bias + at.g * c_.K_per_group() + block.first : nullptr;
      run.y = target.y + (block.first - blocks.front().first);  // NCHW has one block
      run.channels = block.channels;
      block.run(run);
    }
  }

  const Context& context_;
  ConvProblem c_;
  const RowKernels& kernels_;
  const Converter& convert_;
  Cut cut_;
  Strip strip_;
  std::vector<int64_t> taps_;
  int64_t part_;        ///< columns of a part
  int64_t strip_room_;  ///< floats; behind them a part of halves has its own
  Slots slots_;
  std::vector<Channels> blocks_;
  int64_t group_weights_ = 0;  ///< floats
};

}  // namespace

KernelRow direct_row(const Context& context) {
  KernelRow row;
  row.name = "direct";
  row.implementation = Implementation::optimized;
  row.summary = "few input channels: register tiles over a padded copy of a few input rows";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.supports = [](const ConvProblem& p) {
    const bool one_tap = p.R == 1 && p.S == 1 && p.layout == Layout::nhwc;
    const int64_t most = one_tap ? kMostOfOneTap : kMostChannels;
    if (p.C_per_group() <= most) return std::string();
    return fmt::format("C/groups is {}, the kernel does at most {}", p.C_per_group(), most);
  };
  row.cost = [&context](const ConvProblem& p) {
    if (!Direct::cut_for(context, p).fits()) return std::numeric_limits<double>::infinity();
    return estimate(p, row_kernels(context.isa()).lanes, context.threads());
  };
  row.make = [&context](const ConvProblem& p) { return std::make_unique<Direct>(context, p); };
  return row;
}

}  // namespace metalconv::cpu
