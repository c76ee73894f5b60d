// SPDX-License-Identifier: Apache-2.0
// Winograd's F(2,3) along the rows of the output, for kernels three columns wide: two thirds of the
// multiplications of the direct sum. A task copies the input rows that its tile reads into a strip
// and transforms them once for all output channels; both stay in the core's cache. Outputs of
// halves leave through a room that stays in L1.
#include <fmt/format.h>
#include <hwy/cache_control.h>

#include <algorithm>
#include <array>
#include <limits>

#include "cpu/call.h"
#include "cpu/cut.h"
#include "cpu/rows.h"
#include "cpu/strip.h"
#include "cpu/winograd_row_kernels.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

constexpr int64_t kMostChannels = 16;  // of a group; beyond, weights no longer stay in L1
constexpr int64_t kPlanes = 4;
constexpr int64_t kPart =
    512;  // columns that become halves together: whole pairs of vectors, in L1
// Factors mix three taps: beside a large one, the error of a small output counts. Over 15 million
// outputs of 3 channels, 3x3, the largest error was 5.6 u S, direct 6.0; over 3 channels, 1x3, 12.
constexpr int64_t kFewestRows = 9;

/// A strip and its transform: each row becomes four planes of half its length.
class PairStrip {
 public:
  PairStrip(std::string_view isa, const ConvProblem& problem, int64_t rows, int64_t columns,
            int lanes)
      : lanes_(lanes),
        channels_(problem.C_per_group()),
        // The transform reads whole pairs of vectors.
        raw_(isa, problem, Order::pixels_last, rows, round_up(columns, 2 * lanes), kLine) {
    // An odd number of lines: planes and rows at powers of two would share a few cache sets.
    plane_ = (ceil_div(round_up(ceil_div(columns, 2), lanes), kLine) | 1) * kLine;
    for (int64_t c = 0; c < channels_; ++c)
      for (int64_t r = 0; r < problem.R; ++r)
        taps_.push_back((c * raw_.rows() + raw_row(raw_.inner()[std::size_t(r * problem.S)])) *
                        row());
  }

  int64_t floats() const { return raw_floats() + channels_ * raw_.rows() * row(); }
  int64_t plane() const { return plane_; }
  /// Offset of each (channel, kernel row) from an output row's place.
  const std::vector<int64_t>& taps() const { return taps_; }
  int64_t row_step() const { return raw_row(raw_.row_step()) * row(); }
  /// The transformed rows.
  const float* pairs(const float* strip) const { return strip + raw_floats(); }

  void fill(float* strip, const void* x, const Block& block, const WinogradKernels& kernels) const {
    raw_.fill(x, block, strip);
    const int64_t pairs = round_up(ceil_div(block.columns, 2), lanes_);
    float* to = strip + raw_floats();
    for (int64_t c = 0; c < channels_; ++c)
      for (int64_t i = 0; i < raw_.rows(); ++i, to += row())
        kernels.transform(strip + c * raw_.channel_step() + i * raw_.pitch(), to, plane_, pairs);
  }

 private:
  int64_t row() const { return kPlanes * plane_; }
  int64_t raw_row(int64_t offset) const { return offset / raw_.pitch(); }
  int64_t raw_floats() const { return round_up(raw_.floats(), kLine); }

  int lanes_;
  int64_t channels_;
  Strip raw_;
  int64_t plane_ = 0;
  std::vector<int64_t> taps_;
};

class WinogradRow final : public PreparedConv {
 public:
  WinogradRow(const Context& context, const ConvProblem& problem)
      : context_(context),
        c_(problem),
        kernels_(winograd_row_kernels(context.isa())),
        convert_(converter(context.isa(), problem.dtype)),
        cut_(cut_for(context, problem)),
        strip_(context.isa(), problem, cut_.rows(), cut_.columns(), kernels_.lanes),
        part_(convert_.halves() ? kPart : cut_.columns()),
        slots_(context.threads(), strip_.floats() + part_floats(problem, kernels_),
               bias_floats(problem)) {
    for (int64_t first = 0; first < c_.K_per_group();) {
      int entry = kernels_.blocks - 1;
      while (first + (int64_t(1) << entry) > c_.K_per_group()) --entry;
      blocks_.push_back({first, int64_t(1) << entry, kernels_.row[entry]});
      first += int64_t(1) << entry;
    }
  }

  static Cut cut_for(const Context& context, const ConvProblem& problem) {
    const WinogradKernels& kernels = winograd_row_kernels(context.isa());
    return Cut(context, problem, kLine + part_floats(problem, kernels),
               [&](int64_t rows, int64_t columns) {
                 return PairStrip(context.isa(), problem, rows, columns, kernels.lanes).floats();
               });
  }

  std::size_t packed_bytes() const override {
    return std::size_t(c_.K * channel_weights()) * sizeof(float);
  }
  /// A strip and its transform a thread.
  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    return fmt::format("{}, F(2,3) along rows, {} channels x {} pixels, {} rows a task",
                       context_.isa(), blocks_.front().channels, kernels_.pixels, cut_.rows());
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    const Floats floats(convert_, w, c_.w_elements());
    const float* from = floats.data();
    auto* to = static_cast<float*>(packed.address());
    const int64_t taps = int64_t(strip_.taps().size());
    for (int64_t g = 0; g < c_.groups; ++g)
      for (const Channels& block : blocks_)
        for (const auto& products : {std::array{1, 2}, std::array{0, 3}})
          for (int64_t t = 0; t < taps; ++t)
            for (const int product : products)
              for (int64_t i = 0; i < block.channels; ++i)
                *to++ = factor(from + ((g * c_.K_per_group() + block.first + i) * taps + t) * 3,
                               product);
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

 private:
  /// Output channels of a group that go together.
  struct Channels {
    int64_t first, channels;
    void (*run)(const WinogradRun&);
  };

  /// What one product multiplies, from three taps; in double, so that it is rounded once.
  static float factor(const float* g, int product) {
    const double outer = double(g[0]) + g[2];
    switch (product) {
      case 0:
        return g[0];
      case 1:
        return float((outer + g[1]) / 2);
      case 2:
        return float((outer - g[1]) / 2);
      default:
        return g[2];
    }
  }

  /// Outputs of a block of channels that become halves together.
  static int64_t part_floats(const ConvProblem& c, const WinogradKernels& kernels) {
    return c.dtype != DType::f32 ? kPart << (kernels.blocks - 1) : 0;
  }
  int64_t channel_weights() const { return kPlanes * int64_t(strip_.taps().size()); }

  void run_task(const Call& call, const Block& task, float* strip, bool stream) const {
    strip_.fill(strip, call.x, task, kernels_);
    for (const Channels& block : blocks_)
      for (int64_t row = 0; row < task.rows; ++row)
        for (int64_t q = 0; q < task.columns; q += part_)
          run_part(call, strip, block, task, row, q, stream);
  }

  /// Columns of one row of a task, from column q of it on.
  void run_part(const Call& call, float* strip, const Channels& block, const Block& task,
                int64_t row, int64_t q, bool stream) const {
    const int64_t k = task.g * c_.K_per_group() + block.first, P = c_.P(), Q = c_.Q();
    const int64_t y = ((task.n * c_.K + k) * P + task.p + row) * Q + task.q + q;
    float* room = strip + strip_.floats();
    WinogradRun run;
    run.x = strip_.pairs(strip) + row * strip_.row_step() + q / 2;
    run.plane = strip_.plane();
    run.taps = strip_.taps().data();
    run.tap_count = int64_t(strip_.taps().size());
    run.w = call.w + k * channel_weights();
    run.bias = call.bias ? call.bias + k : nullptr;
    run.y = convert_.halves() ? room : call.floats(y);
    run.y_step = convert_.halves() ? part_ : P * Q;
    run.pixels = std::min(part_, task.columns - q);
    run.activation = c_.activation;
    run.stream = stream && !convert_.halves();
    block.run(run);
    if (convert_.halves())
      rows_from_f32(convert_, room, part_, convert_.at(call.y, y), P * Q, block.channels,
                    run.pixels, stream);
  }

  const Context& context_;
  ConvProblem c_;
  const WinogradKernels& kernels_;
  const Converter& convert_;
  Cut cut_;
  PairStrip strip_;
  int64_t part_;  ///< columns that leave together
  Slots slots_;
  std::vector<Channels> blocks_;
};

std::string refusal(const ConvProblem& c, const WinogradKernels& kernels) {
  if (kernels.lanes == 0) return "the instruction set has no vectors";
  if (c.S != 3) return fmt::format("the kernel is {} columns wide, must be 3", c.S);
  if (c.stride_w != 1 || c.dilation_w != 1)
    return fmt::format("stride {} and dilation {} along the row must be 1", c.stride_w,
                       c.dilation_w);
  if (c.C_per_group() > kMostChannels)
    return fmt::format("C/groups is {}, the kernel does at most {}", c.C_per_group(),
                       kMostChannels);
  if (c.C_per_group() * c.R < kFewestRows || c.W < 3 || c.H < c.dilation_h * (c.R - 1) + 1 ||
      std::max({c.pad_left, c.pad_right}) > 1 ||
      std::max({c.pad_top, c.pad_bottom}) > c.dilation_h * (c.R / 2))
    return fmt::format(
        "some output sums few products (C/groups x R is {}, must be {}; the image must not be "
        "smaller than the kernel nor the padding larger than half of it): the error bound would "
        "not hold",
        c.C_per_group() * c.R, kFewestRows);
  return {};
}

/// Seconds, against 1.15e11 operations a second and thread of direct: on Zen 4 AVX-512
/// gains 1.24 times, AVX2, whose registers hold half the tile, nothing. The output channels share
/// the transform of the input, which takes about as long as six of them.
double estimate(const ConvProblem& c, int lanes, int threads) {
  const double rate = lanes == 8 ? 1.05e11 : 1.42e11;
  const double filled = double(c.Q()) / double(round_up(c.Q(), 2 * lanes));
  const double shared = double(c.K_per_group()) / double(c.K_per_group() + 6) * (70.0 / 64.0);
  return 1e-5 + c.flops() / (rate * threads * filled * shared);
}

}  // namespace

KernelRow winograd_row(const Context& context) {
  KernelRow row;
  row.name = "winograd_row";
  row.implementation = Implementation::optimized;
  row.summary = "three columns wide, few input channels: Winograd F(2,3) along rows";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.error_bound = 16;  // measured at most 7.1 over 6000 shapes, borders included
  // An infinity meets itself with the other sign and gives NaN; NaN stays where it belongs.
  row.direct_sum = false;
  row.supports = [&context](const ConvProblem& p) {
    return refusal(p, winograd_row_kernels(context.isa()));
  };
  row.cost = [&context](const ConvProblem& p) {
    if (!WinogradRow::cut_for(context, p).fits()) return std::numeric_limits<double>::infinity();
    return estimate(p, winograd_row_kernels(context.isa()).lanes, context.threads());
  };
  // A pair of outputs takes 4 multiply-adds a channel and kernel row, and 2 additions in the end.
  row.executed_flops = [](const ConvProblem& p) {
    const double pairs = double(p.N * p.K * p.P()) * double(ceil_div(p.Q(), 2));
    return pairs * (8.0 * double(p.C_per_group() * p.R) + 2.0);
  };
  row.make = [&context](const ConvProblem& p) { return std::make_unique<WinogradRow>(context, p); };
  return row;
}

}  // namespace metalconv::cpu
