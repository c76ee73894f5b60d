// SPDX-License-Identifier: Apache-2.0
// Winograd's F(4x4, 3x3) and F(2x2, 3x3). A task transforms the input of a block of tiles into its
// thread's slot, multiplies it, product by product, with the transformed weights of one group of
// output channels after the other, and transforms the sums back: nothing larger than a block is
// ever kept. Where the slot does not hold all input channels of the block, they come chunk by
// chunk, for each group of output channels anew, and are added to its sums. The products are plain
// matrix products, which the register tiles of the general kernel do.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
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
using winograd_tiles::PixelRows;
using winograd_tiles::PixelRun;
using winograd_tiles::Shape;

constexpr int kMaxPixels = 16;                                        // of a tile by channels
constexpr int64_t kMaxPieces = 8;                                     // of a band
constexpr int64_t kMaxColumns = 4 * winograd_tiles::kChannelRun + 2;  // of a run by channels
constexpr int64_t kAhead = 3;  // channels that are fetched before they are needed
// Below, the transforms cost more than they save; in NHWC they take no less than a vector.
constexpr int64_t kFewestPlanes = 16, kFewestChannels = 12;

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
        piece_(blocking.by_pixels ? shape.piece : 0),
        block_(shape.block(blocking.by_pixels)),
        padded_K_(blocking.by_pixels ? shape.K : shape.padded),
        groups_(ceil_div(shape.K, blocking.group)),
        in_place_(!shape.nchw && !convert_.halves()),
        reads_rows_(winograd_tiles::kernels_of(context.isa()).parts && !convert_.halves() &&
                    shape.c.dilation_w == 1),
        fetches_(blocking.tiles >= 2 * shape.gemm.pixels &&
                 packed_bytes() > context.last_cache() / 2) {
    for (int64_t i = 0; i < blocking.chunk; ++i) offsets_.push_back(i * at_.pitch);
  }

  std::size_t packed_bytes() const override {
    return std::size_t(s_.c.groups * group_weights()) * sizeof(float);
  }
  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    return fmt::format(
        "{}, F({}x{}), vectors of {}, {} tiles x {} channels from {} at a time, {} splits",
        context_.isa(), s_.m, s_.m, blocking_.by_pixels ? "pixels" : "channels", blocking_.tiles,
        blocking_.group, blocking_.chunk, blocking_.splits);
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
      const int64_t unit = piece_ ? piece_ : 1, all = s_.tiles / unit;
      task.first = block * all / blocks * unit;
      task.tiles = (block + 1) * all / blocks * unit - task.first;
      const bool whole = blocking_.chunk == s_.C;
      if (whole) transform_in(call, task, {0, s_.C});
      for (int64_t group = split * groups_ / blocking_.splits;
           group < (split + 1) * groups_ / blocking_.splits; ++group) {
        for (int64_t c = 0; c < s_.C; c += blocking_.chunk) {
          const Chunk chunk{c, std::min(blocking_.chunk, s_.C - c)};
          if (!whole) transform_in(call, task, chunk);
          multiply(call, task, chunk, group * blocking_.group);
        }
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
  /// Neighbouring channels.
  struct Chunk {
    int64_t first, channels;
  };
  /// Neighbouring tiles of a row, from output (p, q) on; `at` counts them in the task.
  struct Run {
    int64_t n, p, q, at, tiles;
  };

  int64_t group_weights() const { return padded_K_ * s_.products * s_.C; }
  int64_t width_of(int64_t k) const { return std::min(blocking_.group, padded_K_ - k); }
  /// Those of output channel k and of the rest of its group, for one product.
  template <class Float>
  Float* weights(Float* packed, int64_t g, int64_t k, const Chunk& chunk, int64_t product) const {
    return packed + g * group_weights() + k * s_.products * s_.C +
           (chunk.first * s_.products + product * chunk.channels) * width_of(k);
  }

  /// As they are read: [chunk][product][block of channels][input channel][channel of the block].
  void pack_group(const float* w, int64_t g, int64_t k0, float* packed) const {
    const int64_t width = width_of(k0);
    for (int64_t k = 0; k < width; ++k) {
      const int64_t first = k / block_ * block_, in_block = std::min(block_, width - first);
      for (int64_t c = 0; c < s_.C; ++c) {
        std::array<double, 36> factors{};
        if (k0 + k < s_.K) transform_weights(w + ((g * s_.K + k0 + k) * s_.C + c) * 9, &factors);
        const int64_t c0 = c / blocking_.chunk * blocking_.chunk;
        const Chunk chunk{c0, std::min(blocking_.chunk, s_.C - c0)};
        const int64_t at = first * chunk.channels + (c - c0) * in_block + k - first;
        for (int64_t p = 0; p < s_.products; ++p)
          weights(packed, g, k0, chunk, p)[at] = float(factors[std::size_t(p)]);
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
      run.tiles = std::min({at_.run - (piece_ ? done % at_.run : 0), left, task.tiles - done});
      body(run);
      done += run.tiles;
    }
  }

  /// Runs that are transformed together, vectors of pixels: one, or pieces of several.
  struct Band {
    Run runs[kMaxPieces];
    int64_t lines[kMaxPieces];   ///< where in a line each run begins
    int64_t pieces[kMaxPieces];  ///< ... and each piece
    int64_t count, at, tiles;    ///< of runs; as in Run
  };
  template <class Body>
  void each_band(const Task& task, const Body& body) const {
    Band band{};
    int64_t line = 0;
    each_run(task, [&](const Run& run) {
      if (band.count == 0) band.at = run.at;
      for (int64_t t = 0; piece_ && t < run.tiles; t += piece_)
        band.pieces[(band.tiles + t) / piece_] = line + t * s_.m;
      band.runs[band.count] = run;
      band.lines[band.count++] = line;
      band.tiles += run.tiles;
      line += round_up(run.tiles * s_.m + 2, s_.lanes);
      const int64_t end = run.at + run.tiles;
      if (piece_ && band.tiles < at_.run && end < task.tiles) return;
      // The last vector may have fewer: what it writes of the others goes behind the lines.
      if (piece_) std::fill(band.pieces + band.tiles / piece_, std::end(band.pieces), line);
      body(band);
      band = {};
      line = 0;
    });
  }

  void transform_in(const Call& call, const Task& task, const Chunk& chunk) const {
    if (!blocking_.by_pixels)
      return each_run(task, [&](const Run& run) { channels_in(call, task, run, chunk); });
    each_band(task, [&](const Band& band) {
      for (int64_t c = 0; c < chunk.channels; ++c) pixels_in(call, task, band, chunk.first, c);
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

  /// Channel c of those from c0 on.
  void pixels_in(const Call& call, const Task& task, const Band& band, int64_t c0,
                 int64_t c) const {
    // Rows are too short for the hardware to see them coming.
    const int64_t size = s_.c.H * s_.c.W, ahead = c0 + c + kAhead < s_.C ? kAhead * size : 0;
    for (int64_t i = 0; i < band.count; ++i)
      rows_in(call, band.runs[i], (band.runs[i].n * s_.c.C + task.g * s_.C + c0 + c) * size, ahead,
              task.slot + at_.lines_at + band.lines[i]);
    transforms_.pixels_in(pixel_run(task, band, task.slot + c * at_.pitch + band.at, at_.v_step));
  }
  PixelRun pixel_run(const Task& task, const Band& band, float* planes, int64_t step) const {
    PixelRun run{};
    run.lines = task.slot + at_.lines_at;
    run.pitch = at_.line;
    run.pieces = piece_ ? band.pieces : nullptr;
    run.planes = planes;
    run.step = step;
    run.tiles = band.tiles;
    return run;
  }

  /// Rows of the plane from element `plane` on; those `ahead` elements further are fetched.
  void rows_in(const Call& call, const Run& run, int64_t plane, int64_t ahead, float* lines) const {
    static constexpr float kZeros[(kMaxPieces + 1) * kLine] = {};
    PixelRows rows{};
    rows.columns = run.tiles * s_.m + 2;
    rows.lines = lines;
    rows.pitch = at_.line;
    if (reads_rows_) {
      const int64_t w = run.q - s_.c.pad_left;
      const Inside inside(w, 1, rows.columns, s_.c.W);
      rows.left = inside.begin, rows.right = inside.end;
      rows.ahead = ahead;
      for (int64_t i = 0; i < s_.span; ++i) {
        const int64_t h = run.p - s_.c.pad_top + i * s_.c.dilation_h;
        rows.rows[i] = kZeros;
        if (h < 0 || h >= s_.c.H) continue;
        rows.rows[i] = static_cast<const float*>(call.x) + plane + h * s_.c.W + w;
      }
    } else {
      rows.right = round_up(rows.columns, s_.lanes);
      for (int64_t i = 0; i < s_.span; ++i) rows.rows[i] = lines + i * at_.line;
      fill_lines(run, lines, 1, [&](int64_t h, int64_t w, int64_t columns, float* to) {
        const int64_t at = plane + h * s_.c.W + w;
        for (int64_t j = 0; j < columns + kLine; j += kLine)
          __builtin_prefetch(convert_.at(call.x, at + ahead + std::min(j, s_.c.W - 1 - w)));
        convert_.every(s_.c.dilation_w, convert_.at(call.x, at), to, columns);
      });
    }
    transforms_.rows_in(rows);
  }

  /// NHWC: `channels` of each of `columns` pixels, from element `at` on.
  void copy_channels(const Call& call, int64_t at, int64_t channels, int64_t columns,
                     float* to) const {
    const int64_t step = s_.c.dilation_w * s_.c.C;
    const bool dense = step == channels;
    rows_to_f32(convert_, convert_.at(call.x, at), step, to, channels, dense ? 1 : columns,
                dense ? columns * channels : channels);
  }

  /// NCHW: the same, of planes from element `at` on.
  void gather_channels(const Call& call, int64_t at, int64_t channels, int64_t columns,
                       float* to) const {
    alignas(64) float room[Turn::kPlanes * kMaxColumns];
    turn_.to_pixels(convert_.at(call.x, at), s_.c.H * s_.c.W, channels, s_.c.dilation_w, columns,
                    room, to, channels);
  }

  /// Tiles [first, first + count) of a run.
  struct Tiles {
    int64_t first, count;
  };
  /// body(tiles) for those of a run of `all` before them, and for those behind.
  template <class Body>
  static void each_other(const Tiles& tiles, int64_t all, const Body& body) {
    const int64_t end = tiles.first + tiles.count;
    if (tiles.first > 0) body(Tiles{0, tiles.first});
    if (end < all) body(Tiles{end, all - end});
  }

  /// Tiles that can be read where they are: f32, pixel by pixel, no padding.
  Tiles inside(const Run& run) const {
    const int64_t h = run.p - s_.c.pad_top, w = run.q - s_.c.pad_left;
    const int64_t step = s_.c.dilation_w, last = s_.span - 1;
    if (!in_place_ || h < 0 || h + last * s_.c.dilation_h >= s_.c.H) return {0, 0};
    // Tile t reads the columns from w + t m step to w + (t m + last) step.
    const Inside tiles(w, s_.m * step, run.tiles, s_.c.W - last * step);
    return {tiles.begin, tiles.size()};
  }

  void channels_in(const Call& call, const Task& task, const Run& run, const Chunk& chunk) const {
    const Tiles direct = inside(run);
    ChannelRun tile{};
    tile.pitch = s_.c.dilation_h * s_.c.W * s_.c.C;
    tile.pixel = s_.c.dilation_w * s_.c.C;
    tile.step = at_.v_step;
    tile.channels = chunk.channels;
    const int64_t pixel = (run.n * s_.c.H + run.p - s_.c.pad_top) * s_.c.W + run.q - s_.c.pad_left;
    const int64_t first = pixel * s_.c.C + task.g * s_.C + chunk.first;
    for (int64_t t = direct.first; t < direct.first + direct.count; ++t) {
      tile.lines = static_cast<const float*>(call.x) + first + t * s_.m * tile.pixel;
      tile.planes = task.slot + (run.at + t) * at_.pitch;
      transforms_.channels_in(tile);
    }
    each_other(direct, run.tiles, [&](const Tiles& t) {
      copies_in(call, task,
                {run.n, run.p, run.q + t.first * s_.m * s_.columns.step, run.at + t.first, t.count},
                chunk);
    });
  }

  /// As many channels at a time as the lines have room for, and never less than a vector.
  void copies_in(const Call& call, const Task& task, const Run& run, const Chunk& chunk) const {
    for (int64_t c = 0, n; c < chunk.channels; c += n) {
      const int64_t left = chunk.channels - c;
      n = left <= at_.pixel ? left : std::min(at_.pixel, left - s_.lanes);
      lines_in(call, task, run, chunk.first + c, n, task.slot + run.at * at_.pitch + c);
    }
  }

  /// Input channels [c, c + channels) of the group.
  void lines_in(const Call& call, const Task& task, const Run& run, int64_t c, int64_t channels,
                float* planes) const {
    const int64_t size = s_.c.H * s_.c.W;
    float* lines = task.slot + at_.lines_at;
    ChannelRun tile{};
    tile.lines = lines;
    tile.pitch = at_.line;
    tile.pixel = channels;
    tile.step = at_.v_step;
    tile.channels = channels;
    fill_lines(run, lines, channels, [&](int64_t h, int64_t w, int64_t columns, float* to) {
      const int64_t first = task.g * s_.C + c;
      if (s_.nchw)
        gather_channels(call, (run.n * s_.c.C + first) * size + h * s_.c.W + w, channels, columns,
                        to);
      else
        copy_channels(call, (run.n * size + h * s_.c.W + w) * s_.c.C + first, channels, columns,
                      to);
    });
    for (int64_t t = 0; t < run.tiles; ++t, tile.lines += s_.m * channels) {
      tile.planes = planes + t * at_.pitch;
      transforms_.channels_in(tile);
    }
  }

  /// All products of the output channels from k0 on.
  void multiply(const Call& call, const Task& task, const Chunk& chunk, int64_t k0) const {
    for (int64_t p = 0; p < s_.products; ++p) {
      Product product{};
      product.w = weights(call.w, task.g, k0, chunk, p);
      product.inputs = chunk.channels;
      product.add = chunk.first > 0;
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
    int64_t inputs, channels, biases;
    bool add;  ///< to m
  };

  /// That of the block of channels from k on, from tile `at` on; `bias` lives as long as it does.
  general::Sum sum(const Product& product, int64_t k, int64_t at, general::BlockBias* bias) const {
    static constexpr int64_t kNowhere = 0;
    general::Sum s{};
    s.x = product.v + at;
    s.w = product.w + k * product.inputs;
    s.outer = &kNowhere;
    s.outer_count = 1;
    s.inner = offsets_.data();
    s.inner_count = product.inputs;
    s.add = product.add;
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
        for (int64_t t = begin; t < end; ++t) from[t - begin] = t * at_.pitch, to[t - begin] = t;
        if (fetches_) fetch_next(s.w, vectors * s_.lanes * product.inputs, i, tiles);
        s_.gemm.by_channels(int(end - begin), int(vectors), s, from, product.m + k, to,
                            blocking_.group);
      }
    }
  }

  /// Part i of n of the weights behind those of a block, which has `floats`.
  static void fetch_next(const float* block, int64_t floats, int64_t i, int64_t n) {
    for (int64_t at = floats * i / n; at < floats * (i + 1) / n; at += kLine)
      __builtin_prefetch(block + floats + at, 0, 2);
  }

  void transform_out(const Call& call, const Task& task, int64_t k0) const {
    const int64_t channels = std::min(blocking_.group, s_.K - k0);
    if (!blocking_.by_pixels)
      return each_run(task, [&](const Run& run) { channels_out(call, task, run, k0); });
    each_band(task, [&](const Band& band) {
      for (int64_t k = 0; k < channels; ++k) pixels_out(call, task, band, k0, k);
    });
  }

  void pixels_out(const Call& call, const Task& task, const Band& band, int64_t k0,
                  int64_t k) const {
    PixelRun products =
        pixel_run(task, band, task.slot + at_.m_at + k * at_.width + band.at, at_.m_step);
    products.activation = s_.c.activation;
    transforms_.pixels_out(products);
    for (int64_t r = 0; r < band.count; ++r) {
      const Run& run = band.runs[r];
      const int64_t plane = run.n * s_.c.K + task.g * s_.K + k0 + k;
      const int64_t rows = s_.rows.existing(run.p, s_.m);
      const int64_t columns = s_.columns.existing(run.q, run.tiles * s_.m);
      for (int64_t i = 0; i < rows; ++i) {
        const float* from = products.lines + i * at_.line + band.lines[r];
        const int64_t y =
            (plane * s_.rows.size + run.p + i * s_.rows.step) * s_.columns.size + run.q;
        every_from_f32(convert_, from, columns, convert_.at(call.y, y), s_.columns.step);
      }
    }
  }

  /// Whole tiles go where they belong, if those are pixels in f32; of others as many channels at a
  /// time as the lines have room for.
  void channels_out(const Call& call, const Task& task, const Run& run, int64_t k0) const {
    const int64_t channels = std::min(blocking_.group, s_.K - k0);
    Tiles direct{0, 0};
    if (in_place_ && channels >= s_.lanes && s_.rows.existing(run.p, s_.m) == s_.m)
      direct.count = s_.columns.existing(run.q, run.tiles * s_.m) / s_.m;
    ChannelRun tile{};
    tile.pitch = s_.rows.step * s_.columns.size * s_.c.K;
    tile.pixel = s_.columns.step * s_.c.K;
    tile.step = at_.m_step;
    tile.channels = channels;
    tile.activation = s_.c.activation;
    const int64_t pixel = (run.n * s_.rows.size + run.p) * s_.columns.size + run.q;
    for (int64_t t = 0; t < direct.count; ++t) {
      tile.y = call.floats(pixel * s_.c.K + task.g * s_.K + k0 + t * s_.m * tile.pixel);
      tile.planes = task.slot + at_.m_at + (run.at + t) * blocking_.group;
      transforms_.channels_out(tile);
    }
    each_other(direct, run.tiles, [&](const Tiles& t) {
      for (int64_t k = 0; k < channels; k += at_.pixel) lines_out(call, task, run, t, k0, k);
    });
  }

  /// Those of the output channels from k0 + k on that the lines have room for.
  void lines_out(const Call& call, const Task& task, const Run& run, const Tiles& tiles, int64_t k0,
                 int64_t k) const {
    const int64_t width = std::min(at_.pixel, width_of(k0) - k);
    float* lines = task.slot + at_.lines_at;
    ChannelRun tile{};
    tile.y = lines;
    tile.pitch = at_.line;
    tile.pixel = width;
    tile.step = at_.m_step;
    tile.channels = width;
    tile.activation = s_.c.activation;
    for (int64_t t = 0; t < tiles.count; ++t, tile.y += s_.m * width) {
      tile.planes = task.slot + at_.m_at + (run.at + tiles.first + t) * blocking_.group + k;
      transforms_.channels_out(tile);
    }
    const int64_t q = run.q + tiles.first * s_.m * s_.columns.step;
    const int64_t columns = s_.columns.existing(q, tiles.count * s_.m);
    for (int64_t i = 0; i < s_.rows.existing(run.p, s_.m); ++i)
      store_channels(call, {run.n, run.p + i * s_.rows.step, q, columns},
                     {task.g * s_.K + k0 + k, std::min(width, s_.K - k0 - k)}, lines + i * at_.line,
                     width);
  }

  /// Pixels of row p of image n, `columns` from column q on.
  struct Pixels {
    int64_t n, p, q, columns;
  };

  /// Their output channels `k`, `pixel` floats from pixel to pixel.
  void store_channels(const Call& call, const Pixels& at, const Chunk& k, const float* from,
                      int64_t pixel) const {
    const int64_t P = s_.rows.size, Q = s_.columns.size, step = s_.columns.step;
    if (!s_.nchw) {
      const int64_t y = ((at.n * P + at.p) * Q + at.q) * s_.c.K + k.first;
      for (int64_t j = 0; j < at.columns; ++j)
        call.store(from + j * pixel, k.channels, y + j * step * s_.c.K);
      return;
    }
    const int64_t y = ((at.n * s_.c.K + k.first) * P + at.p) * Q + at.q;
    alignas(64) float room[Turn::kPlanes * kMaxColumns];
    turn_.to_planes(from, pixel, k.channels, step, at.columns, room, convert_.at(call.y, y), P * Q);
  }

  const Context& context_;
  const Converter& convert_;
  Shape s_;
  Blocking blocking_;
  Layouts at_;
  winograd_tiles::Transforms transforms_;
  Turn turn_;
  Slots slots_;
  int64_t piece_;     ///< as in Shape, where vectors hold pixels; else 0
  int64_t block_;     ///< output channels of a register tile
  int64_t padded_K_;  ///< channels that the packed weights hold
  int64_t groups_;
  bool in_place_;    ///< tensors hold what the transforms by channels take and give
  bool reads_rows_;  ///< by pixels, where they are
  bool fetches_;     ///< weights, before they are needed: they are too many for the last cache
  std::vector<int64_t> offsets_;  ///< of the input channels in a product
};

std::string refusal(const ConvProblem& c, int64_t lanes) {
  const int64_t fewest =
      c.layout == Layout::nchw ? kFewestPlanes : std::max(kFewestChannels, lanes);
  if (lanes <= 1) return "the instruction set has no vectors";
  if (c.R != 3 || c.S != 3) return fmt::format("the kernel is {}x{}, must be 3x3", c.R, c.S);
  if (c.stride_h != 1 || c.stride_w != 1)
    return fmt::format("the strides are {}x{}, must be 1", c.stride_h, c.stride_w);
  if (c.C_per_group() < fewest)
    return fmt::format("C/groups is {}, must be at least {}", c.C_per_group(), fewest);
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
  row.error_bound = m == 4 ? 96 : 16;  // measured 68 and 4 at most, at corners
  row.direct_sum = false;              // an infinity meets itself with the other sign and gives NaN
  row.supports = [&context](const ConvProblem& p) {
    return refusal(p, winograd_tiles::kernels_of(context.isa()).lanes);
  };
  row.cost = [&context, m](const ConvProblem& p) {
    const Shape s(context, p, m);
    const Blocking b = winograd_tiles::choose_blocking(context, s);
    if (b.excess > 0) return std::numeric_limits<double>::infinity();
    return std::max(b.seconds, winograd_tiles::seconds_from_memory(context, s));
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
