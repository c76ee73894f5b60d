// SPDX-License-Identifier: Apache-2.0
// Winograd's F(4x4, 3x3) and F(2x2, 3x3). A task transforms the input of a block of tiles into its
// thread's slot, multiplies it, product by product, with the transformed weights of one group of
// output channels after the other, and transforms the sums back: nothing larger than a block is
// ever kept. The products are plain matrix products, which the register tiles of the general kernel
// do.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "cpu/call.h"
#include "cpu/rows.h"
#include "cpu/transpose.h"
#include "cpu/winograd_blocking.h"
#include "cpu/winograd_transforms.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;
using winograd_tiles::Blocking;
using winograd_tiles::ChannelRun;
using winograd_tiles::Layouts;
using winograd_tiles::PixelRun;
using winograd_tiles::Shape;

constexpr int kMaxPixels = 16;                                        // of a tile by channels
constexpr int64_t kMaxColumns = 4 * winograd_tiles::kChannelRun + 2;  // of a run by channels
constexpr int64_t kAhead = 2;            // channels that are fetched before they are needed
constexpr int64_t kFewestChannels = 16;  // below, the transforms cost more than they save

class Winograd final : public PreparedConv {
 public:
  Winograd(const Context& context, const Shape& shape, const Blocking& blocking)
      : context_(context),
        convert_(converter(context.isa(), shape.c.dtype)),
        s_(shape),
        blocking_(blocking),
        at_(shape, blocking),
        transforms_(shape.m == 4 ? winograd_tiles::kernels_of(context.isa()).f4
                                 : winograd_tiles::kernels_of(context.isa()).f2),
        turn_(context.isa(), shape.c.dtype),
        slots_(context.threads(), at_.floats, bias_floats(shape.c)),
        block_(shape.block(blocking.by_pixels)),
        padded_K_(blocking.by_pixels ? shape.K : shape.padded),
        groups_(ceil_div(shape.K, blocking.group)) {
    for (int64_t i = 0; i < s_.C; ++i) offsets_.push_back(i * at_.pitch);
  }

  std::size_t packed_bytes() const override {
    return std::size_t(s_.c.groups * group_weights()) * sizeof(float);
  }
  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    return fmt::format("{}, F({}x{}), vectors of {}, {} tiles a task, {} splits", context_.isa(),
                       s_.m, s_.m, blocking_.by_pixels ? "pixels" : "channels", blocking_.tiles,
                       blocking_.splits);
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    const Floats floats(convert_, w, s_.c.w_elements());
    auto* to = static_cast<float*>(packed.address());
    context_.parallel_for(s_.c.groups * groups_, [&](int64_t i) {
      pack_group(floats.data(), i / groups_, i % groups_ * blocking_.group, to);
    });
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const Call call(s_.c, x, packed, bias, y, convert_, slots_.head(workspace));
    const int64_t blocks = ceil_div(s_.tiles, blocking_.tiles);
    context_.parallel_for(blocks * s_.c.groups * blocking_.splits, [&](int64_t i) {
      Task task;
      task.slot = slots_.mine(workspace);
      const int64_t split = i % blocking_.splits, block = i / blocking_.splits % blocks;
      task.g = i / blocking_.splits / blocks;
      // Shared evenly: 49 tiles are 25 + 24.
      task.first = block * s_.tiles / blocks;
      task.tiles = (block + 1) * s_.tiles / blocks - task.first;
      transform_in(call, task);
      for (int64_t group = split * groups_ / blocking_.splits;
           group < (split + 1) * groups_ / blocking_.splits; ++group) {
        multiply(call, task, group * blocking_.group);
        transform_out(call, task, group * blocking_.group);
      }
    });
  }

 private:
  /// Tiles [first, first + tiles) of all images, of one group of channels.
  struct Task {
    int64_t g, first, tiles;
    float* slot;
  };
  /// Neighbouring tiles of a row, from output (p, q) on; `at` counts them in the task.
  struct Run {
    int64_t n, p, q, at, tiles;
  };

  int64_t group_weights() const { return padded_K_ * s_.products * s_.C; }
  int64_t width_of(int64_t k) const { return std::min(blocking_.group, padded_K_ - k); }
  /// Those of output channel k and of the rest of its group, for one product.
  template <class Float>
  Float* weights(Float* packed, int64_t g, int64_t k, int64_t product) const {
    return packed + g * group_weights() + (k * s_.products + product * width_of(k)) * s_.C;
  }

  /// [product][block of channels][input channel][channel of the block].
  void pack_group(const float* w, int64_t g, int64_t k0, float* packed) const {
    const int64_t width = width_of(k0);
    for (int64_t k = 0; k < width; ++k) {
      const int64_t first = k / block_ * block_, in_block = std::min(block_, width - first);
      for (int64_t c = 0; c < s_.C; ++c) {
        std::array<double, 36> factors{};
        if (k0 + k < s_.K) transform_weights(w + ((g * s_.K + k0 + k) * s_.C + c) * 9, &factors);
        for (int64_t p = 0; p < s_.products; ++p)
          weights(packed, g, k0, p)[first * s_.C + c * in_block + k - first] =
              float(factors[std::size_t(p)]);
      }
    }
  }
  void transform_weights(const float* w, std::array<double, 36>* factors) const {
    double taps[9], half[18];
    std::copy_n(w, 9, taps);
    for (int s = 0; s < 3; ++s) winograd_tiles::transform_taps(int(s_.m), taps + s, 3, half + s, 3);
    for (int64_t i = 0; i < s_.span; ++i)
      winograd_tiles::transform_taps(int(s_.m), half + i * 3, 1, factors->data() + i * s_.span, 1);
  }

  template <class Body>
  void each_run(const Task& task, const Body& body) const {
    for (int64_t done = 0; done < task.tiles;) {
      const int64_t t = task.first + done;
      Run run;
      const int64_t column = t % s_.columns.tiles(), row = t / s_.columns.tiles();
      run.p = s_.rows.first(row % s_.rows.tiles());
      run.q = s_.columns.first(column);
      run.n = row / s_.rows.tiles();
      run.at = done;
      const int64_t left = s_.columns.in_image - column % s_.columns.in_image;
      run.tiles = std::min({at_.run, left, task.tiles - done});
      body(run);
      done += run.tiles;
    }
  }

  void transform_in(const Call& call, const Task& task) const {
    each_run(task, [&](const Run& run) {
      if (blocking_.by_pixels)
        for (int64_t c = 0; c < s_.C; ++c) pixels_in(call, task, run, c);
      else
        channels_in(call, task, run);
    });
  }

  /// copy(image row, first column, columns, line) for the part of each line of a run's input that
  /// is inside the image, columns being the dilation apart; the rest of the lines is zeros.
  template <class Copy>
  void fill_lines(const Run& run, float* lines, int64_t pixel, const Copy& copy) const {
    const int64_t columns = run.tiles * s_.m + 2, step = s_.c.dilation_w;
    const int64_t h0 = run.p - s_.c.pad_top, w0 = run.q - s_.c.pad_left;
    const int64_t left = w0 < 0 ? std::min(ceil_div(-w0, step), columns) : 0;
    const int64_t right =
        w0 < s_.c.W ? std::clamp(ceil_div(s_.c.W - w0, step), left, columns) : left;
    for (int64_t i = 0; i < s_.span; ++i, lines += at_.line) {
      const int64_t h = h0 + i * s_.c.dilation_h;
      const bool inside = h >= 0 && h < s_.c.H && left < right;
      const int64_t from = inside ? left : columns;
      std::fill(lines, lines + from * pixel, 0.0f);
      if (!inside) continue;
      copy(h, w0 + left * step, right - left, lines + left * pixel);
      std::fill(lines + right * pixel, lines + columns * pixel, 0.0f);
    }
  }

  void pixels_in(const Call& call, const Task& task, const Run& run, int64_t c) const {
    const int64_t size = s_.c.H * s_.c.W;
    const int64_t plane = (run.n * s_.c.C + task.g * s_.C + c) * size;
    PixelRun lines{};
    lines.lines = task.slot + at_.lines_at;
    lines.pitch = at_.line;
    lines.planes = task.slot + c * at_.pitch + run.at;
    lines.step = at_.v_step;
    lines.tiles = run.tiles;
    // Rows are too short for the hardware to see them coming.
    const int64_t ahead = c + kAhead < s_.C ? kAhead * size : 0;
    fill_lines(run, lines.lines, 1, [&](int64_t h, int64_t w, int64_t columns, float* to) {
      const int64_t at = plane + h * s_.c.W + w;
      for (int64_t i = 0; i < columns + kLine; i += kLine)
        __builtin_prefetch(convert_.at(call.x, at + ahead + std::min(i, s_.c.W - 1 - w)));
      convert_.every(s_.c.dilation_w, convert_.at(call.x, at), to, columns);
    });
    transforms_.pixels_in(lines);
  }

  /// NHWC: the channels of `columns` pixels from element `at` on.
  void copy_channels(const Call& call, int64_t at, int64_t columns, float* to) const {
    const int64_t step = s_.c.dilation_w * s_.c.C;
    const bool dense = step == s_.C;
    rows_to_f32(convert_, convert_.at(call.x, at), step, to, s_.C, dense ? 1 : columns,
                dense ? columns * s_.C : s_.C);
  }

  /// NCHW: the same, of planes from element `at` on.
  void gather_channels(const Call& call, int64_t at, int64_t columns, float* to) const {
    alignas(64) float room[Turn::kPlanes * kMaxColumns];
    turn_.to_pixels(convert_.at(call.x, at), s_.c.H * s_.c.W, s_.C, s_.c.dilation_w, columns, room,
                    to, s_.C);
  }

  void channels_in(const Call& call, const Task& task, const Run& run) const {
    const int64_t size = s_.c.H * s_.c.W;
    ChannelRun tile{};
    tile.lines = task.slot + at_.lines_at;
    tile.pitch = at_.line;
    tile.pixel = s_.C;
    tile.step = at_.v_step;
    tile.channels = s_.C;
    fill_lines(run, tile.lines, s_.C, [&](int64_t h, int64_t w, int64_t columns, float* to) {
      if (s_.nchw)
        gather_channels(call, (run.n * s_.c.C + task.g * s_.C) * size + h * s_.c.W + w, columns,
                        to);
      else
        copy_channels(call, (run.n * size + h * s_.c.W + w) * s_.c.C + task.g * s_.C, columns, to);
    });
    for (int64_t t = 0; t < run.tiles; ++t, tile.lines += s_.m * s_.C) {
      tile.planes = task.slot + (run.at + t) * s_.C;
      transforms_.channels_in(tile);
    }
  }

  /// All products of the output channels from k0 on.
  void multiply(const Call& call, const Task& task, int64_t k0) const {
    for (int64_t p = 0; p < s_.products; ++p) {
      Product product{};
      product.w = weights(call.w, task.g, k0, p);
      product.v = task.slot + p * at_.v_step;
      product.m = task.slot + at_.m_at + p * at_.m_step;
      product.channels = width_of(k0);
      // The product of 1 and 1 is in every output, once.
      if (call.bias && p == s_.span + 1) product.bias = call.bias + task.g * s_.K + k0;
      product.biases = std::min(product.channels, s_.K - k0);
      if (blocking_.by_pixels)
        multiply_pixels(task, product);
      else
        multiply_channels(task, product);
    }
  }

  /// One of the products of a group of output channels.
  struct Product {
    const float *w, *v;
    float* m;
    const float* bias;  ///< of the first channel, or null
    int64_t channels, biases;
  };

  /// That of the block of channels from k on, from tile `at` on; `bias` lives as long as it does.
  general::Sum sum(const Product& product, int64_t k, int64_t at, general::BlockBias* bias) const {
    static constexpr int64_t kNowhere = 0;
    general::Sum s{};
    s.x = product.v + at;
    s.w = product.w + k * s_.C;
    s.outer = &kNowhere;
    s.outer_count = 1;
    s.inner = offsets_.data();
    s.inner_count = s_.C;
    s.bias = bias->of(product.bias ? product.bias + k : nullptr, product.biases - k, block_);
    return s;
  }

  /// Inputs of a few vectors of tiles stay in L1 while all weights pass.
  void multiply_pixels(const Task& task, const Product& product) const {
    general::BlockBias bias;
    const int64_t vectors = ceil_div(task.tiles, s_.lanes);
    int64_t tiles = ceil_div(vectors, s_.gemm.pixel_vectors);
    for (int64_t done = 0; done < vectors; --tiles) {
      const int64_t count = ceil_div(vectors - done, tiles), at = done * s_.lanes;
      for (int64_t k = 0; k < product.channels; k += block_)
        s_.gemm.by_pixels(int(std::min(block_, product.channels - k)), int(count),
                          sum(product, k, at, &bias), product.m + k * at_.width + at, at_.width);
      done += count;
    }
  }

  /// Weights of a block of channels stay in L1 while all inputs pass.
  void multiply_channels(const Task& task, const Product& product) const {
    general::BlockBias bias;
    int64_t from[kMaxPixels], to[kMaxPixels];
    const int64_t tiles = ceil_div(task.tiles, s_.gemm.pixels);
    for (int64_t k = 0; k < product.channels; k += block_) {
      const int64_t vectors = ceil_div(std::min(block_, product.channels - k), s_.lanes);
      const general::Sum s = sum(product, k, 0, &bias);
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t begin = i * task.tiles / tiles, end = (i + 1) * task.tiles / tiles;
        for (int64_t t = begin; t < end; ++t) from[t - begin] = t * s_.C, to[t - begin] = t;
        s_.gemm.by_channels(int(end - begin), int(vectors), s, from, product.m + k, to,
                            blocking_.group);
      }
    }
  }

  void transform_out(const Call& call, const Task& task, int64_t k0) const {
    const int64_t channels = std::min(blocking_.group, s_.K - k0);
    each_run(task, [&](const Run& run) {
      if (blocking_.by_pixels)
        for (int64_t k = 0; k < channels; ++k) pixels_out(call, task, run, k0, k);
      else
        channels_out(call, task, run, k0);
    });
  }

  void pixels_out(const Call& call, const Task& task, const Run& run, int64_t k0, int64_t k) const {
    PixelRun lines{};
    lines.lines = task.slot + at_.lines_at;
    lines.pitch = at_.line;
    lines.planes = task.slot + at_.m_at + k * at_.width + run.at;
    lines.step = at_.m_step;
    lines.tiles = run.tiles;
    lines.activation = s_.c.activation;
    transforms_.pixels_out(lines);
    const int64_t plane = run.n * s_.c.K + task.g * s_.K + k0 + k;
    const int64_t rows = s_.rows.existing(run.p, s_.m);
    const int64_t columns = s_.columns.existing(run.q, run.tiles * s_.m);
    for (int64_t i = 0; i < rows; ++i) {
      const float* from = lines.lines + i * at_.line;
      const int64_t y = (plane * s_.rows.size + run.p + i * s_.rows.step) * s_.columns.size + run.q;
      every_from_f32(convert_, from, columns, convert_.at(call.y, y), s_.columns.step);
    }
  }

  /// NCHW: all tiles of the run, then row by row; NHWC: tile by tile, which stay in L1.
  void channels_out(const Call& call, const Task& task, const Run& run, int64_t k0) const {
    const int64_t together = s_.nchw ? run.tiles : 1;
    const int64_t rows = s_.rows.existing(run.p, s_.m);
    float* lines = task.slot + at_.lines_at;
    for (int64_t first = 0; first < run.tiles; first += together) {
      for (int64_t t = 0; t < together; ++t)
        transform_channels(task, run.at + first + t, k0, lines + t * s_.m * blocking_.group);
      const int64_t q = run.q + first * s_.m * s_.columns.step;
      const int64_t columns = s_.columns.existing(q, together * s_.m);
      for (int64_t i = 0; i < rows; ++i)
        store_channels(call, task, {run.n, run.p + i * s_.rows.step, q, columns}, k0,
                       lines + i * at_.line);
    }
  }
  /// Those from k0 on of the task's tile `t`.
  void transform_channels(const Task& task, int64_t t, int64_t k0, float* lines) const {
    ChannelRun tile{};
    tile.lines = lines;
    tile.planes = task.slot + at_.m_at + t * blocking_.group;
    tile.pitch = at_.line;
    tile.pixel = blocking_.group;
    tile.step = at_.m_step;
    tile.channels = width_of(k0);
    tile.activation = s_.c.activation;
    transforms_.channels_out(tile);
  }

  /// Pixels of row p of image n, `columns` from column q on.
  struct Pixels {
    int64_t n, p, q, columns;
  };

  /// Their output channels from k0 on, of one group; `from` holds them pixel by pixel.
  void store_channels(const Call& call, const Task& task, const Pixels& at, int64_t k0,
                      const float* from) const {
    const int64_t channels = std::min(blocking_.group, s_.K - k0), pixel = blocking_.group;
    const int64_t P = s_.rows.size, Q = s_.columns.size, step = s_.columns.step;
    const int64_t k = task.g * s_.K + k0, columns = at.columns;
    if (!s_.nchw) {
      const int64_t y = ((at.n * P + at.p) * Q + at.q) * s_.c.K + k;
      for (int64_t j = 0; j < columns; ++j)
        call.store(from + j * pixel, channels, y + j * step * s_.c.K);
      return;
    }
    const int64_t y = ((at.n * s_.c.K + k) * P + at.p) * Q + at.q;
    alignas(64) float room[Turn::kPlanes * kMaxColumns];
    turn_.to_planes(from, pixel, channels, step, columns, room, convert_.at(call.y, y), P * Q);
  }

  const Context& context_;
  const Converter& convert_;
  Shape s_;
  Blocking blocking_;
  Layouts at_;
  winograd_tiles::Transforms transforms_;
  Turn turn_;
  Slots slots_;
  int64_t block_;     ///< output channels of a register tile
  int64_t padded_K_;  ///< channels that the packed weights hold
  int64_t groups_;
  std::vector<int64_t> offsets_;  ///< of the input channels in a product
};

std::string refusal(const ConvProblem& c, int64_t lanes) {
  if (lanes <= 1) return "the instruction set has no vectors";
  if (c.R != 3 || c.S != 3) return fmt::format("the kernel is {}x{}, must be 3x3", c.R, c.S);
  if (c.stride_h != 1 || c.stride_w != 1)
    return fmt::format("the strides are {}x{}, must be 1", c.stride_h, c.stride_w);
  if (c.C_per_group() < kFewestChannels)
    return fmt::format("C/groups is {}, must be at least {}", c.C_per_group(), kFewestChannels);
  if (std::max(c.pad_top, c.pad_bottom) > c.dilation_h ||
      std::max(c.pad_left, c.pad_right) > c.dilation_w)
    return "the padding is larger than the dilation: outputs of a few taps would not keep the "
           "error "
           "bound";
  return {};
}

KernelRow row_of(const Context& context, int m) {
  KernelRow row;
  row.name = fmt::format("winograd_f{}", m);
  row.summary = fmt::format("3x3, many channels: Winograd F({0}x{0}), block by block", m);
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.exactness = Exactness::scaled;
  row.error_bound = m == 4 ? 96 : 16;  // measured 55 and 3 at most, at corners
  row.direct_sum = false;              // an infinity meets itself with the other sign and gives NaN
  row.supports = [&context](const ConvProblem& p) {
    return refusal(p, winograd_tiles::kernels_of(context.isa()).lanes);
  };
  row.cost = [&context, m](const ConvProblem& p) {
    return winograd_tiles::choose_blocking(context, Shape(context, p, m)).seconds;
  };
  row.executed_flops = [&context, m](const ConvProblem& p) {
    const Shape s(context, p, m);
    const double transforms = m == 4 ? 156 + 36 : 32 + 8;  // additions, both dimensions, in
    const double back = m == 4 ? 90 : 24;
    return double(s.tiles) * (2.0 * double(s.products * p.C_per_group() * p.K) +
                              transforms * double(p.C) + back * double(p.K));
  };
  row.make = [&context, m](const ConvProblem& p) {
    const Shape s(context, p, m);
    return std::make_unique<Winograd>(context, s, winograd_tiles::choose_blocking(context, s));
  };
  return row;
}

}  // namespace

KernelRow winograd_f2_row(const Context& context) { return row_of(context, 2); }
KernelRow winograd_f4_row(const Context& context) { return row_of(context, 4); }

}  // namespace metalconv::cpu
