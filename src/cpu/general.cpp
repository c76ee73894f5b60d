// SPDX-License-Identifier: Apache-2.0
// The general kernel: any channels, kernel size, stride, dilation and groups. A task computes a
// block of output rows and columns: it copies the input that the block reads into a strip
// (strip.h) sized for the core's own cache, and runs register tiles (general_tiles.cpp)
// over it.
#include "cpu/general.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "cpu/call.h"
#include "cpu/rows.h"
#include "cpu/strip.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

constexpr int64_t kMaxTile = 512;  // floats of the largest tile: 8 x 3 or 12 x 2 vectors of 16
constexpr int kMaxPixels = 16;     // of a tile by channels

/// Which tiles to use, and how the outputs are divided among tasks.
struct Blocking {
  bool by_pixels = false;         ///< vectors of a tile hold pixels (NCHW only), else channels
  int64_t rows = 1, columns = 1;  ///< outputs of a task ...
  int64_t splits = 1;             ///< ... and its share of the blocks of channels
  double seconds = std::numeric_limits<double>::infinity();  ///< what it is estimated to take
};

/// Narrow maps: vectors run on from row to row, over the columns of the strip between them, where
/// that makes fewer of them.
bool runs_over_rows(const ConvProblem& c, const Blocking& b, int64_t lanes) {
  if (!b.by_pixels || b.columns < c.Q() || c.stride_h > 1 || c.stride_w > 1) return false;
  const int64_t pitch = b.columns + (c.S - 1) * c.dilation_w;
  return ceil_div((b.rows - 1) * pitch + b.columns, lanes) < b.rows * ceil_div(b.columns, lanes);
}

// -- choosing the blocking --

class Chooser {
 public:
  Chooser(const Context& context, const ConvProblem& problem)
      : threads_(context.threads()),
        kernels_(general::kernels_of(context.isa())),
        c_(problem),
        cache_(int64_t(context.core_cache())) {}

  Blocking choose() const {
    Blocking best;
    try_tiles(by_pixels(), &best);
    return best;
  }

 private:
  /// The kind of tile decides the order of the sums, so that it must not depend on the threads.
  bool by_pixels() const {
    if (c_.layout == Layout::nhwc) return false;
    Chooser alone = *this;
    alone.threads_ = 1;
    Blocking pixels, channels;
    alone.try_tiles(true, &pixels);
    alone.try_tiles(false, &channels);
    return pixels.seconds < channels.seconds;
  }

  void try_tiles(bool by_pixels, Blocking* best) const {
    const int64_t P = c_.P(), Q = c_.Q();
    Blocking b;
    b.by_pixels = by_pixels;
    b.columns = fitting_columns(by_pixels);
    const int64_t block = by_pixels ? kernels_.channels : kernels_.channel_vectors * kernels_.lanes;
    const int64_t unit = by_pixels ? 1 : kernels_.lanes;
    const int64_t padded = ceil_div(c_.K_per_group(), unit) * unit;
    const int64_t blocks = ceil_div(c_.K_per_group(), block);
    for (int64_t bands = 1; bands <= P; bands = next_bands(bands, P)) {
      b.rows = ceil_div(P, bands);
      if (b.rows > 1 && strip_bytes(b.rows, b.columns) > strip_limit_) continue;
      if (b.rows > 1 && b.columns < Q) continue;
      const int64_t tasks = std::max<int64_t>(c_.N, 1) * c_.groups * bands * ceil_div(Q, b.columns);
      for (b.splits = 1; b.splits <= blocks; b.splits *= 2) {
        b.seconds =
            seconds(b, tasks * b.splits, std::min(ceil_div(blocks, b.splits) * block, padded));
        if (b.seconds < best->seconds) *best = b;
        if (threads_ == 1 || tasks * b.splits >= 8 * threads_) break;
      }
    }
  }
  /// The next count of bands that makes them lower.
  static int64_t next_bands(int64_t bands, int64_t P) {
    const int64_t rows = ceil_div(P, bands);
    return rows == 1 ? P + 1 : ceil_div(P, rows - 1);
  }

  int64_t strip_bytes(int64_t rows, int64_t columns) const {
    return c_.C_per_group() * Axis(rows, c_.stride_h, c_.dilation_h, c_.R).size *
           Axis(columns, c_.stride_w, c_.dilation_w, c_.S).size * int64_t(sizeof(float));
  }

  /// All columns, or fewer where not even one row of outputs fits.
  int64_t fitting_columns(bool by_pixels) const {
    const int64_t tile = by_pixels ? kernels_.pixel_vectors * kernels_.lanes : kernels_.pixels;
    int64_t columns = c_.Q();
    while (columns > tile && strip_bytes(1, columns) > strip_limit_)
      columns = ceil_div(columns / 2, tile) * tile;
    return columns;
  }

  // The estimate counts in vector multiply-adds, what a core does one of a cycle; constants were
  // fitted on Zen 4.

  /// `channels` of each task, those that pad the last vector included.
  double seconds(const Blocking& b, int64_t tasks, int64_t channels) const {
    const Tiles t = b.by_pixels ? pixel_tiles(b) : channel_tiles(b);
    const double steps = double(c_.C_per_group() * c_.R * c_.S);
    // A tile of fewer than 8 sums waits for each of them.
    const double blocks = std::max(double(channels) / t.channels, 8.0 / most_sums(b));
    // Copying: whole rows or pixels, or one float at a time.
    const bool single = c_.layout == Layout::nchw && (c_.stride_w > 1 || !b.by_pixels);
    const int64_t rows = c_.C_per_group() * Axis(b.rows, c_.stride_h, c_.dilation_h, c_.R).size;
    const double fill = double(strip_bytes(b.rows, b.columns)) * (single ? 0.4 : 0.08) +
                        (b.by_pixels ? 100.0 * double(rows) : 0.0);
    // Weights pass once from memory, when they do not stay in the cache, and from it for every
    // tile.
    const double weights = steps * t.channels * sizeof(float);
    const double first =
        weights * double(channels) / t.channels > double(cache_) / 2 ? 1.0 / 16 : 0;
    const double tiles = t.sums * steps + t.count * (weights / 128 + 40) + t.stores;
    const double task = fill + 200 + blocks * (tiles + weights * first);
    // On average the last round is half empty.
    const double rounds =
        std::max(double(ceil_div(tasks, threads_)), double(tasks) / threads_ + 0.5);
    return 2e-6 + rounds * task / (kernels_.rate * 1e9);
  }

  int most_sums(const Blocking& b) const {
    return b.by_pixels ? kernels_.channels * kernels_.pixel_vectors
                       : kernels_.pixels * kernels_.channel_vectors;
  }

  /// The tiles of one block of channels.
  struct Tiles {
    int channels;         ///< of the block
    double count;         ///< of tiles
    double sums, stores;  ///< vectors of sums of all of them; cost of writing them
  };
  Tiles pixel_tiles(const Blocking& b) const {
    const bool over = runs_over_rows(c_, b, kernels_.lanes);
    const int64_t pitch = b.columns + (c_.S - 1) * c_.dilation_w;
    const int64_t runs = over ? 1 : b.rows;
    const int64_t run = over ? (b.rows - 1) * pitch + b.columns : b.columns;
    const int64_t vectors = ceil_div(run, kernels_.lanes);
    const double sums = double(runs * vectors * kernels_.channels);
    const int64_t tiles = runs * ceil_div(vectors, kernels_.pixel_vectors);
    return {kernels_.channels, double(tiles), sums, sums * (over ? 8 : 4)};
  }
  Tiles channel_tiles(const Blocking& b) const {
    const int64_t pixels = b.rows * b.columns, vectors = kernels_.channel_vectors;
    const double sums = double(pixels * vectors);
    // NCHW: floats are scattered to their planes.
    const double store = c_.layout == Layout::nchw ? 1.5 * kernels_.lanes : 4;
    return {kernels_.channel_vectors * kernels_.lanes, double(ceil_div(pixels, kernels_.pixels)),
            sums, sums * store};
  }

  int threads_;
  const general::Kernels& kernels_;
  const ConvProblem& c_;
  int64_t cache_;
  int64_t strip_limit_ = cache_ / 2;  // the rest is for the weights that pass through
};

// -- the kernel --

class General final : public PreparedConv {
 public:
  General(const Context& context, const ConvProblem& problem, const Blocking& blocking)
      : context_(context),
        kernels_(general::kernels_of(context.isa())),
        c_(problem),
        blocking_(blocking),
        convert_(converter(context.isa(), problem.dtype)),
        strip_(context.isa(), problem,
               blocking.by_pixels ? Order::pixels_last : Order::channels_last, blocking.rows,
               blocking.columns, 1),
        // Tiles may read, and then drop, up to one tile past the end.
        slots_(context.threads(), strip_.floats() + kMaxTile, bias_floats(problem)),
        nchw_(problem.layout == Layout::nchw),
        over_rows_(runs_over_rows(problem, blocking, kernels_.lanes)),
        straight_(!convert_.halves() && (!over_rows_ || strip_.row_step() == problem.Q())),
        Q_(problem.Q()),
        plane_(problem.P() * problem.Q()),
        lanes_(kernels_.lanes),
        depth_(problem.C_per_group() * problem.R * problem.S),
        block_(blocking.by_pixels ? kernels_.channels : kernels_.channel_vectors * lanes_),
        blocks_(ceil_div(problem.K_per_group(), block_)) {}

  std::size_t packed_bytes() const override {
    return std::size_t(c_.groups * group_weights()) * sizeof(float);
  }
  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    const auto tile =
        blocking_.by_pixels
            ? fmt::format("{} channels x {} pixels", block_, kernels_.pixel_vectors * lanes_)
            : fmt::format("{} pixels x {} channels", kernels_.pixels, block_);
    return fmt::format("{}, {} in registers, {} x {} outputs a task, {} splits", context_.isa(),
                       tile, blocking_.rows, blocking_.columns, blocking_.splits);
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override;
  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override;

 private:
  /// Blocks of channels [first, last) of a block of outputs whose input is in `strip`.
  struct Task {
    Block at;
    int64_t first, last;
    float* strip;
  };

  int64_t group_weights() const {
    const int64_t K = c_.K_per_group();
    return depth_ * (blocking_.by_pixels ? K : ceil_div(K, lanes_) * lanes_);
  }

  Task task(int64_t index, float* strip) const;
  general::Sum sum(const Call&, const Task&, int64_t k, general::BlockBias* bias) const;
  void by_pixels(const Call&, const Task&) const;
  void run_of_pixels(const Call&, const Task&, int64_t block, int64_t row, int64_t length) const;
  void store_run(const Call&, const Task&, const float* tile, int64_t begin, int64_t end,
                 int64_t plane) const;
  void by_channels(const Call&, const Task&) const;
  void tile_of_channels(const Call&, const Task&, int64_t block, int64_t first,
                        int64_t pixels) const;
  void scatter(const Call&, const float* tile, int64_t width, int64_t channels, int64_t image,
               const int64_t* to, int64_t pixels) const;

  const Context& context_;
  const general::Kernels& kernels_;
  ConvProblem c_;
  Blocking blocking_;
  const Converter& convert_;
  Strip strip_;
  Slots slots_;
  bool nchw_;
  bool over_rows_, straight_;  // runs of pixels go over rows; whole tiles of them go to y at once
  int64_t Q_, plane_, lanes_, depth_;
  int64_t block_, blocks_;  // output channels of a tile, and tiles of them in a group
  int64_t passing_weights_ = int64_t(context_.core_cache() / sizeof(float) / 2);
};

/// [group][block][outer][inner][channel of the block], in the order of the sum.
void General::pack(Queue&, const TensorView& w, Memory packed) const {
  const Floats floats(convert_, w, c_.w_elements());
  const float* from = floats.data();
  auto* to = static_cast<float*>(packed.address());
  const int64_t K = c_.K_per_group(), taps = c_.R * c_.S, channels = c_.C_per_group();
  const int64_t unit = blocking_.by_pixels ? 1 : lanes_;
  context_.parallel_for(c_.groups * blocks_, [&](int64_t i) {
    const int64_t g = i / blocks_, k0 = i % blocks_ * block_;
    const int64_t valid = std::min(block_, K - k0), width = ceil_div(valid, unit) * unit;
    float* step = to + g * group_weights() + k0 * depth_;
    for (int64_t d = 0; d < depth_; ++d, step += width) {
      const int64_t source = blocking_.by_pixels ? d : d % channels * taps + d / channels;
      for (int64_t k = 0; k < width; ++k)
        step[k] = k < valid ? from[(g * K + k0 + k) * depth_ + source] : 0.0f;
    }
  });
}

void General::execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
                      const TensorView& y, Memory workspace) const {
  const Call call(c_, x, packed, bias, y, convert_, slots_.head(workspace));
  const int64_t tasks = c_.N * c_.groups * ceil_div(c_.P(), blocking_.rows) *
                        ceil_div(Q_, blocking_.columns) * blocking_.splits;
  context_.parallel_for(tasks, [&](int64_t index) {
    const Task part = task(index, slots_.mine(workspace));
    strip_.fill(call.x, part.at, part.strip);
    if (blocking_.by_pixels)
      by_pixels(call, part);
    else
      by_channels(call, part);
  });
}

General::Task General::task(int64_t index, float* strip) const {
  const auto digit = [&index](int64_t base) {
    const int64_t value = index % base;
    index /= base;
    return value;
  };
  Task t{};
  const int64_t split = digit(blocking_.splits);
  t.first = split * blocks_ / blocking_.splits;
  t.last = (split + 1) * blocks_ / blocking_.splits;
  t.at.q = digit(ceil_div(Q_, blocking_.columns)) * blocking_.columns;
  t.at.p = digit(ceil_div(c_.P(), blocking_.rows)) * blocking_.rows;
  t.at.g = digit(c_.groups);
  t.at.n = index;
  t.at.columns = std::min(blocking_.columns, Q_ - t.at.q);
  t.at.rows = std::min(blocking_.rows, c_.P() - t.at.p);
  t.strip = strip;
  return t;
}

/// Of the tile whose first channel in the group is k; `bias` lives as long as it does.
general::Sum General::sum(const Call& call, const Task& task, int64_t k,
                          general::BlockBias* bias) const {
  const int64_t K = c_.K_per_group();
  general::Sum s{};
  s.w = call.w + task.at.g * group_weights() + k * depth_;
  s.outer = strip_.outer().data();
  s.outer_count = int64_t(strip_.outer().size());
  s.inner = strip_.inner().data();
  s.inner_count = int64_t(strip_.inner().size());
  s.bias = bias->of(call.bias ? call.bias + task.at.g * K + k : nullptr, K - k, block_);
  s.activate(c_.activation);
  return s;
}

// -- vectors of pixels --

void General::by_pixels(const Call& call, const Task& task) const {
  const int64_t runs = over_rows_ ? 1 : task.at.rows;
  const int64_t length = over_rows_ ? (task.at.rows - 1) * strip_.row_step() + Q_ : task.at.columns;
  for (int64_t b = task.first; b < task.last; ++b)
    for (int64_t row = 0; row < runs; ++row) run_of_pixels(call, task, b, row, length);
}

/// `length` pixels from the start of the task's output row `row` on.
void General::run_of_pixels(const Call& call, const Task& task, int64_t block, int64_t row,
                            int64_t length) const {
  alignas(64) float tile[kMaxTile];
  general::BlockBias bias;
  const int64_t k = block * block_, K = c_.K_per_group(), channels = std::min(block_, K - k);
  general::Sum s = sum(call, task, k, &bias);
  const int64_t y =
      (task.at.n * c_.K + task.at.g * K + k) * plane_ + (task.at.p + row) * Q_ + task.at.q;
  int64_t tiles = ceil_div(length, kernels_.pixel_vectors * lanes_);
  for (int64_t at = 0; at < length; --tiles) {
    // What remains is shared evenly: 4 vectors are 2 + 2, not 3 + 1.
    const int64_t vectors = ceil_div(ceil_div(length - at, lanes_), tiles);
    const int64_t end = at + vectors * lanes_;
    s.x = task.strip + strip_.place(row, at);
    if (straight_ && end <= length) {
      kernels_.by_pixels(int(channels), int(vectors), s, call.floats(y + at), plane_);
    } else {
      kernels_.by_pixels(int(channels), int(vectors), s, tile, end - at);
      for (int64_t i = 0; i < channels; ++i)
        store_run(call, task, tile + i * (end - at), at, std::min(end, length), y + i * plane_);
    }
    at = end;
  }
}

/// Copy pixels [begin, end) of a run from `tile` to element `plane` of y on, without the columns
/// between rows.
void General::store_run(const Call& call, const Task& task, const float* tile, int64_t begin,
                        int64_t end, int64_t plane) const {
  const int64_t pitch = over_rows_ ? strip_.row_step() : end;
  for (int64_t row = begin / pitch; row * pitch < end; ++row) {
    const int64_t from = std::max(begin, row * pitch);
    const int64_t to = std::min(end, row * pitch + task.at.columns);
    if (from < to)
      call.store(tile + (from - begin), to - from, plane + row * Q_ + from - row * pitch);
  }
}

// -- vectors of channels --

void General::by_channels(const Call& call, const Task& task) const {
  const int64_t pixels = task.at.rows * task.at.columns;
  const int64_t tiles = ceil_div(pixels, kernels_.pixels), blocks = task.last - task.first;
  // Weights that fit the cache beside the strip pass by every tile of pixels, which then stays in
  // L1; larger ones come from memory once for all pixels.
  const bool blocks_inside = blocks * block_ * depth_ <= passing_weights_;
  for (int64_t i = 0; i < tiles * blocks; ++i) {
    const int64_t tile = blocks_inside ? i / blocks : i % tiles;
    const int64_t block = task.first + (blocks_inside ? i % blocks : i / tiles);
    // Shared evenly: 14 pixels are 7 + 7, not 12 + 2.
    const int64_t begin = tile * pixels / tiles, end = (tile + 1) * pixels / tiles;
    tile_of_channels(call, task, block, begin, end - begin);
  }
}

/// Pixels [first, first + pixels) of the task, counted along its rows.
void General::tile_of_channels(const Call& call, const Task& task, int64_t block, int64_t first,
                               int64_t pixels) const {
  alignas(64) float tile[kMaxTile];
  general::BlockBias bias;
  int64_t from[kMaxPixels], to[kMaxPixels], in_tile[kMaxPixels];
  int64_t p = first / task.at.columns, q = first % task.at.columns;
  for (int64_t i = 0; i < pixels; ++i) {
    from[i] = strip_.place(p, q);
    to[i] = (task.at.p + p) * Q_ + task.at.q + q;
    in_tile[i] = i;
    if (++q == task.at.columns) q = 0, ++p;
  }
  const int64_t k = block * block_, K = c_.K_per_group(), channels = std::min(block_, K - k);
  const int64_t vectors = ceil_div(channels, lanes_), width = vectors * lanes_;
  general::Sum s = sum(call, task, k, &bias);
  s.x = task.strip;
  const int64_t channel = task.at.g * K + k;
  const int64_t image = task.at.n * c_.K * plane_ + channel * (nchw_ ? plane_ : 1);
  if (!nchw_ && channels == width && !convert_.halves())
    return kernels_.by_channels(int(pixels), int(vectors), s, from, call.floats(image), to, c_.K);
  kernels_.by_channels(int(pixels), int(vectors), s, from, tile, in_tile, width);
  if (nchw_) return scatter(call, tile, width, channels, image, to, pixels);
  for (int64_t i = 0; i < pixels; ++i) call.store(tile + i * width, channels, image + to[i] * c_.K);
}

/// The channels of a tile of `width` to their planes, from element `image` of y on.
void General::scatter(const Call& call, const float* tile, int64_t width, int64_t channels,
                      int64_t image, const int64_t* to, int64_t pixels) const {
  const auto copy = [&](const auto* from, auto* planes) {
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < pixels; ++i) planes[c * plane_ + to[i]] = from[i * width + c];
  };
  if (!convert_.halves()) return copy(tile, call.floats(image));
  std::uint16_t halves[kMaxTile];
  convert_.from_f32(tile, halves, pixels * width);
  copy(halves, static_cast<std::uint16_t*>(convert_.at(call.y, image)));
}

/// A 1x1 kernel that takes every pixel sees no rows: one long row has no ends to waste vectors on.
ConvProblem without_rows(ConvProblem c) {
  const bool every_pixel =
      c.R == 1 && c.S == 1 && c.stride_h == 1 && c.stride_w == 1 && c.P() == c.H && c.Q() == c.W;
  if (every_pixel) c.W *= std::exchange(c.H, 1);
  return c;
}

}  // namespace

KernelRow general_row(const Context& context) {
  KernelRow row;
  row.name = "general";
  row.summary = "register tiles over cache-sized strips of the input; any channels and kernel";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.cost = [&context](const ConvProblem& problem) {
    const ConvProblem p = without_rows(problem);
    return Chooser(context, p).choose().seconds;
  };
  row.make = [&context](const ConvProblem& problem) {
    const ConvProblem p = without_rows(problem);
    return std::make_unique<General>(context, p, Chooser(context, p).choose());
  };
  return row;
}

}  // namespace metalconv::cpu
