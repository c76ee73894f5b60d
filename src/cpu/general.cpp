// SPDX-License-Identifier: Apache-2.0
// The general kernel: any channels, kernel size, stride, dilation and groups. A task computes a
// block of output rows and columns: it copies the input that the block reads into a strip
// (strip.h) sized for the core's own cache, and runs register tiles (general_tiles.cpp)
// over it. Strips of fewer input channels, whose sums wait for the next, where memory asks for it.
#include "cpu/general.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

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
  bool by_pixels = false;         ///< vectors of a tile hold pixels, else channels
  int64_t rows = 1, columns = 1;  ///< outputs of a task ...
  int64_t splits = 1;             ///< ... and its share of the blocks of channels
  int64_t chunk = 0;              ///< input channels of a strip
  int64_t together = 0;  ///< blocks whose sums wait for the next strip, 0: a strip has all channels
  int64_t excess = std::numeric_limits<int64_t>::max();      ///< bytes of memory above the limit
  double seconds = std::numeric_limits<double>::infinity();  ///< what it is estimated to take
};

/// Narrow maps: vectors run on from row to row, over the columns of the strip between them, where
/// that makes fewer of them.
bool runs_over_rows(const ConvProblem& c, const Blocking& b, int64_t lanes) {
  if (!b.by_pixels || b.columns < c.Q() || c.stride_h > 1 || c.stride_w > 1) return false;
  const int64_t pitch = b.columns + (c.S - 1) * c.dilation_w;
  return ceil_div((b.rows - 1) * pitch + b.columns, lanes) < b.rows * ceil_div(b.columns, lanes);
}

Order order_of(bool by_pixels) { return by_pixels ? Order::pixels_last : Order::channels_last; }

/// Input channels that come together. Sums by channels take them so far in the order of the taps,
/// whether a strip has them all or not, so that memory does not decide the order.
int64_t channels_together(int64_t C) {
  constexpr int64_t kMost = 64, kUnit = 4;  // the inner loop does 4 at a time
  return std::min(round_up(ceil_div(C, ceil_div(C, kMost)), kUnit), C);
}

/// Whether tiles by channels go to y at once: sums need no place of their own.
bool writes_pixels(const ConvProblem& c, int64_t lanes) {
  return c.layout == Layout::nhwc && c.dtype == DType::f32 && c.K_per_group() % lanes == 0;
}

// -- choosing the blocking --

class Chooser {
 public:
  Chooser(const Context& context, const ConvProblem& problem)
      : threads_(context.threads()),
        kernels_(general::kernels_of(context.isa())),
        c_(problem),
        cache_(int64_t(context.core_cache())),
        most_(workspace_limit(problem, context.threads())) {}

  Blocking choose() const {
    Blocking best;
    try_tiles(by_pixels(), &best);
    return best;
  }

 private:
  /// The kind of tile decides the order of the sums, so that it must depend neither on the threads
  /// nor on the size of an element.
  bool by_pixels() const {
    Chooser alone = *this;
    alone.threads_ = 1;
    alone.most_ = std::numeric_limits<int64_t>::max();
    Blocking pixels, channels;
    alone.try_tiles(true, &pixels);
    alone.try_tiles(false, &channels);
    return pixels.seconds < channels.seconds;
  }

  void try_tiles(bool by_pixels, Blocking* best) const {
    const int64_t C = c_.C_per_group(), least = channels_together(C);
    try_bands(by_pixels, C, best);
    // Where the memory is less than the cache would take, fewer channels of more outputs may do.
    if (best->excess == 0 && most_ / threads_ >= strip_limit_) return;
    for (int64_t chunks = ceil_div(C, least); chunks > 1;) {
      chunks = ceil_div(chunks, 2);
      try_bands(by_pixels, std::min(chunks * least, C), best);
    }
  }

  void try_bands(bool by_pixels, int64_t chunk, Blocking* best) const {
    const int64_t P = c_.P(), Q = c_.Q();
    Blocking b;
    b.by_pixels = by_pixels;
    b.chunk = chunk;
    b.columns = fitting_columns(by_pixels, chunk);
    const int64_t block = by_pixels ? kernels_.channels : kernels_.channel_vectors * kernels_.lanes;
    const int64_t unit = by_pixels ? 1 : kernels_.lanes;
    const int64_t padded = ceil_div(c_.K_per_group(), unit) * unit;
    const int64_t blocks = ceil_div(c_.K_per_group(), block);
    for (int64_t bands = 1; bands <= P; bands = next_bands(bands, P)) {
      b.rows = ceil_div(P, bands);
      if (b.rows > 1 && strip_bytes(b.rows, b.columns, chunk) > strip_limit_) continue;
      if (b.rows > 1 && b.columns < Q) continue;
      const int64_t strip = strip_floats(b);
      const int64_t tasks = std::max<int64_t>(c_.N, 1) * c_.groups * bands * ceil_div(Q, b.columns);
      for (b.splits = 1; b.splits <= blocks; b.splits *= 2) {
        const int64_t share = ceil_div(blocks, b.splits);
        set_together(share, strip, &b);
        b.excess = std::max<int64_t>(bytes(strip, b) - most_, 0);
        b.seconds = seconds(b, tasks * b.splits, std::min(share * block, padded));
        if (std::tie(b.excess, b.seconds) < std::tie(best->excess, best->seconds)) *best = b;
        if (threads_ == 1 || tasks * b.splits >= 8 * threads_) break;
      }
    }
  }
  int64_t strip_floats(const Blocking& b) const {
    return StripSizes(c_, order_of(b.by_pixels), b.rows, b.columns, 1, b.chunk).floats;
  }
  /// Of the `share` blocks of a task as many as the memory holds.
  void set_together(int64_t share, int64_t strip, Blocking* b) const {
    b->together = b->chunk < c_.C_per_group() ? share : 0;
    while (b->together > 1 && bytes(strip, *b) > most_) b->together = ceil_div(b->together, 2);
  }
  /// Of the workspace.
  int64_t bytes(int64_t strip, const Blocking& b) const {
    return int64_t(Slots(threads_, strip + kMaxTile + sums_floats(b), bias_floats(c_)).bytes());
  }

 public:
  /// For sums that wait for the next strip, tile by tile.
  int64_t sums_floats(const Blocking& b) const {
    if (!b.by_pixels && writes_pixels(c_, kernels_.lanes)) return 0;
    const Tiles tiles = b.by_pixels ? pixel_tiles(b) : channel_tiles(b);
    return b.together * int64_t(tiles.count) * kMaxTile;
  }

 private:
  /// The next count of bands that makes them lower.
  static int64_t next_bands(int64_t bands, int64_t P) {
    const int64_t rows = ceil_div(P, bands);
    return rows == 1 ? P + 1 : ceil_div(P, rows - 1);
  }

  int64_t strip_bytes(int64_t rows, int64_t columns, int64_t channels) const {
    return channels * Axis(rows, c_.stride_h, c_.dilation_h, c_.R).size *
           Axis(columns, c_.stride_w, c_.dilation_w, c_.S).size * int64_t(sizeof(float));
  }

  /// All columns, or fewer where not even one row of outputs fits the cache; with the fewest
  /// channels, the memory.
  int64_t fitting_columns(bool by_pixels, int64_t channels) const {
    const int64_t tile = by_pixels ? kernels_.pixel_vectors * kernels_.lanes : kernels_.pixels;
    int64_t columns = c_.Q();
    while (columns > tile && strip_bytes(1, columns, channels) > strip_limit_)
      columns = ceil_div(columns / 2, tile) * tile;
    if (channels > channels_together(c_.C_per_group())) return columns;
    Blocking b;
    b.by_pixels = by_pixels;
    b.chunk = channels;
    b.together = channels < c_.C_per_group() ? 1 : 0;
    for (b.columns = columns; b.columns > 1; b.columns /= 2)
      if (bytes(strip_floats(b), b) <= most_) break;
    return b.columns;
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
    const bool nchw = c_.layout == Layout::nchw, turned = !nchw && b.by_pixels;
    const bool single = c_.stride_w > 1 ? nchw || turned : nchw && !b.by_pixels;
    const int64_t rows = c_.C_per_group() * Axis(b.rows, c_.stride_h, c_.dilation_h, c_.R).size;
    // Chunks of the input channels come anew for each few blocks of the output channels.
    const double chunks = double(ceil_div(c_.C_per_group(), b.chunk));
    const double fills =
        b.together > 0 ? std::max(double(channels) / t.channels / double(b.together), 1.0) : 1;
    const double fill =
        double(strip_bytes(b.rows, b.columns, c_.C_per_group())) * (single   ? 0.4
                                                                    : turned ? 0.4
                                                                             : 0.08) +
        (turned        ? 20.0 * double(rows)
         : b.by_pixels ? 100.0 * double(rows)
                       : 0.0);
    // Weights pass once from memory, when they do not stay in the cache, and from it for every
    // tile.
    const double weights = steps * t.channels * sizeof(float);
    const double first =
        weights * double(channels) / t.channels > double(cache_) / 2 ? 1.0 / 16 : 0;
    const double tiles = t.sums * (0.9 * steps + 3 * (chunks - 1)) +
                         t.count * (weights / 128 + 40 * chunks) + t.stores;
    const double task = fills * fill + 200 + blocks * (tiles + weights * first);
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
    const double store = c_.layout == Layout::nhwc ? 2.0 * kernels_.lanes : over ? 8 : 4;
    return {kernels_.channels, double(tiles), sums, sums * store};
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
  int64_t most_;                      // bytes of workspace
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
        strip_(context.isa(), problem, order_of(blocking.by_pixels), blocking.rows,
               blocking.columns, 1, blocking.chunk),
        // Tiles may read, and then drop, up to one tile past the end.
        sums_at_(strip_.floats() + kMaxTile),
        slots_(context.threads(), sums_at_ + Chooser(context, problem).sums_floats(blocking),
               bias_floats(problem)),
        nchw_(problem.layout == Layout::nchw),
        over_rows_(runs_over_rows(problem, blocking, kernels_.lanes)),
        transpose_(transpose_of(context.isa())),
        straight_(nchw_ && !convert_.halves() && (!over_rows_ || strip_.row_step() == problem.Q())),
        Q_(problem.Q()),
        plane_(problem.P() * problem.Q()),
        C_(problem.C_per_group()),
        K_(problem.K_per_group()),
        lanes_(kernels_.lanes),
        depth_(C_ * problem.R * problem.S),
        block_(blocking.by_pixels ? kernels_.channels : kernels_.channel_vectors * lanes_),
        blocks_(ceil_div(K_, block_)),
        chunk_(blocking.by_pixels ? blocking.chunk : channels_together(C_)) {
    for (int64_t c = 0; !blocking.by_pixels && c < blocking.chunk; c += chunk_)
      for (const int64_t tap : strip_.outer()) outer_.push_back(c + tap);
  }

  std::size_t packed_bytes() const override {
    return std::size_t(c_.groups * group_weights()) * sizeof(float);
  }
  std::size_t workspace_bytes() const override { return slots_.bytes(); }
  std::string detail() const override {
    const auto tile =
        blocking_.by_pixels
            ? fmt::format("{} channels x {} pixels", block_, kernels_.pixel_vectors * lanes_)
            : fmt::format("{} pixels x {} channels", kernels_.pixels, block_);
    return fmt::format("{}, {} in registers, {} x {} outputs from {} channels a task, {} splits",
                       context_.isa(), tile, blocking_.rows, blocking_.columns, blocking_.chunk,
                       blocking_.splits);
  }

  void pack(Queue&, const TensorView& w, Memory packed) const override;
  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override;

 private:
  /// Blocks of channels [first, last) of a block of outputs whose input is in `strip`: all input
  /// channels, or the chunk from at.c on. Then a tile's sums wait at `sums` where they do in y.
  struct Task {
    Block at;
    int64_t first, last;
    float* strip;
    float* sums;
  };
  /// Input channels of a group whose sums are taken in one go.
  struct Channels {
    int64_t first, count;
  };

  int64_t group_weights() const {
    return depth_ * (blocking_.by_pixels ? K_ : round_up(K_, lanes_));
  }

  Task task(int64_t index, float* strip) const;
  int64_t width_of(int64_t k) const;
  template <class Run>
  bool sum_up(const Call&, const Task&, int64_t k, const Run&) const;
  general::Sum sum(const Call&, const Task&, int64_t k, const Channels&) const;
  void by_pixels(const Call&, const Task&) const;
  void run_of_pixels(const Call&, const Task&, int64_t block, int64_t row, int64_t length,
                     float* sums) const;
  void store_run(const Call&, const Task&, const float* tile, int64_t begin, int64_t end,
                 int64_t plane) const;
  void store_pixels(const Call&, const Task&, const float* tile, int64_t pitch, int64_t begin,
                    int64_t end, int64_t row, int64_t k) const;
  void by_channels(const Call&, const Task&) const;
  void tile_of_channels(const Call&, const Task&, int64_t block, int64_t first, int64_t pixels,
                        float* sums) const;
  void scatter(const Call&, const float* tile, int64_t width, int64_t channels, int64_t image,
               const int64_t* to, int64_t pixels) const;

  const Context& context_;
  const general::Kernels& kernels_;
  ConvProblem c_;
  Blocking blocking_;
  const Converter& convert_;
  Strip strip_;
  int64_t sums_at_;  // floats of a slot before the sums
  Slots slots_;
  bool nchw_;
  bool over_rows_;  // runs of pixels go over rows
  Transpose transpose_;
  bool straight_;  // whole tiles of them go to y at once
  int64_t Q_, plane_;
  int64_t C_, K_;  // of a group
  int64_t lanes_, depth_;
  int64_t block_, blocks_;  // output channels of a tile, and tiles of them in a group
  int64_t chunk_;           // input channels whose sums are taken in one go ...
  std::vector<int64_t>
      outer_;  // ... by channels: the offsets of all taps of the first, the next ...
  int64_t passing_weights_ = int64_t(context_.core_cache() / sizeof(float) / 2);
};

/// [group][block][chunk][outer][inner][channel of the block], in the order of the sum.
void General::pack(Queue&, const TensorView& w, Memory packed) const {
  const Floats floats(convert_, w, c_.w_elements());
  const float* from = floats.data();
  auto* to = static_cast<float*>(packed.address());
  const int64_t taps = c_.R * c_.S;
  const int64_t unit = blocking_.by_pixels ? 1 : lanes_;
  context_.parallel_for(c_.groups * blocks_, [&](int64_t i) {
    const int64_t g = i / blocks_, k0 = i % blocks_ * block_;
    const int64_t valid = std::min(block_, K_ - k0), width = ceil_div(valid, unit) * unit;
    float* step = to + g * group_weights() + k0 * depth_;
    for (int64_t d = 0; d < depth_; ++d, step += width) {
      const int64_t c = d / (chunk_ * taps) * chunk_, in_chunk = std::min(chunk_, C_ - c);
      const int64_t at = d - c * taps;
      const int64_t source = blocking_.by_pixels ? d : (c + at % in_chunk) * taps + at / in_chunk;
      for (int64_t k = 0; k < width; ++k)
        step[k] = k < valid ? from[(g * K_ + k0 + k) * depth_ + source] : 0.0f;
    }
  });
}

void General::execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
                      const TensorView& y, Memory workspace) const {
  const Call call(c_, x, packed, bias, y, convert_, slots_.head(workspace));
  const int64_t tasks = c_.N * c_.groups * ceil_div(c_.P(), blocking_.rows) *
                        ceil_div(Q_, blocking_.columns) * blocking_.splits;
  context_.parallel_for(tasks, [&](int64_t index) {
    const Task all = task(index, slots_.mine(workspace));
    Task part = all;
    const int64_t together = blocking_.together > 0 ? blocking_.together : all.last - all.first;
    for (part.first = all.first; part.first < all.last; part.first = part.last) {
      part.last = std::min(part.first + together, all.last);
      for (part.at.c = 0; part.at.c < C_; part.at.c += blocking_.chunk) {
        strip_.fill(call.x, part.at, part.strip);
        if (blocking_.by_pixels)
          by_pixels(call, part);
        else
          by_channels(call, part);
      }
    }
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
  t.sums = blocking_.together > 0 ? strip + sums_at_ : nullptr;
  return t;
}

/// Of the block whose first channel in the group is k.
int64_t General::width_of(int64_t k) const {
  const int64_t channels = std::min(block_, K_ - k);
  return blocking_.by_pixels ? channels : round_up(channels, lanes_);
}

/// run(sum) for all input channels in the strip, for the tile whose first channel in the group is
/// k; whether these were the last.
template <class Run>
bool General::sum_up(const Call& call, const Task& task, int64_t k, const Run& run) const {
  general::BlockBias bias;
  const auto some = [&](const Channels& channels) {
    general::Sum s = sum(call, task, k, channels);
    s.bias = bias.of(call.bias ? call.bias + task.at.g * K_ + k : nullptr, K_ - k, block_);
    s.add = channels.first > 0;
    if (channels.first + channels.count == C_) s.activate(c_.activation);
    run(s);
  };
  const int64_t end = std::min(task.at.c + blocking_.chunk, C_);
  // By channels all that are of the same number go at once.
  const int64_t even = blocking_.by_pixels ? end : task.at.c + (end - task.at.c) / chunk_ * chunk_;
  if (even > task.at.c) some({task.at.c, even - task.at.c});
  if (end > even) some({even, end - even});
  return end == C_;
}

general::Sum General::sum(const Call& call, const Task& task, int64_t k,
                          const Channels& channels) const {
  const int64_t taps = c_.R * c_.S;
  general::Sum s{};
  s.w = call.w + task.at.g * group_weights() + k * depth_ + channels.first * taps * width_of(k);
  s.inner = strip_.inner().data();
  if (!blocking_.by_pixels) {
    const int64_t chunks = std::max<int64_t>(channels.count / chunk_, 1);
    s.outer = outer_.data() + (channels.first - task.at.c) / chunk_ * taps;
    s.outer_count = chunks * taps;
    s.inner_count = channels.count / chunks;
  } else if (taps == 1) {
    s.outer = strip_.outer().data();
    s.outer_count = 1;
    s.inner_count = channels.count;
  } else {
    s.outer = strip_.outer().data();
    s.outer_count = channels.count;
    s.inner_count = taps;
  }
  return s;
}

// -- vectors of pixels --

void General::by_pixels(const Call& call, const Task& task) const {
  const int64_t runs = over_rows_ ? 1 : task.at.rows;
  const int64_t length = over_rows_ ? (task.at.rows - 1) * strip_.row_step() + Q_ : task.at.columns;
  const int64_t tiles = ceil_div(length, kernels_.pixel_vectors * lanes_);
  float* sums = task.sums;
  for (int64_t b = task.first; b < task.last; ++b)
    for (int64_t row = 0; row < runs; ++row) {
      run_of_pixels(call, task, b, row, length, sums);
      if (sums) sums += tiles * kMaxTile;
    }
}

/// `length` pixels from the start of the task's output row `row` on.
void General::run_of_pixels(const Call& call, const Task& task, int64_t block, int64_t row,
                            int64_t length, float* sums) const {
  alignas(64) float room[kMaxTile];
  float* tile = sums ? sums : room;
  const int64_t k = block * block_, channels = std::min(block_, K_ - k);
  const int64_t y =
      (task.at.n * c_.K + task.at.g * K_ + k) * plane_ + (task.at.p + row) * Q_ + task.at.q;
  int64_t tiles = ceil_div(length, kernels_.pixel_vectors * lanes_);
  for (int64_t at = 0; at < length; --tiles) {
    // What remains is shared evenly: 4 vectors are 2 + 2, not 3 + 1.
    const int64_t vectors = ceil_div(ceil_div(length - at, lanes_), tiles);
    const int64_t end = at + vectors * lanes_;
    const bool straight = straight_ && end <= length;
    const bool last = sum_up(call, task, k, [&](general::Sum& s) {
      s.x = task.strip + strip_.place(row, at);
      kernels_.by_pixels(int(channels), int(vectors), s, straight ? call.floats(y + at) : tile,
                         straight ? plane_ : end - at);
    });
    if (last && !nchw_) store_pixels(call, task, tile, end - at, at, std::min(end, length), row, k);
    for (int64_t i = 0; nchw_ && !straight && last && i < channels; ++i)
      store_run(call, task, tile + i * (end - at), at, std::min(end, length), y + i * plane_);
    if (sums) tile += kMaxTile;
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

/// The same of all channels of a tile, whose first is k, to NHWC; the run began at the task's
/// output row `row`.
void General::store_pixels(const Call& call, const Task& task, const float* tile, int64_t pitch,
                           int64_t begin, int64_t end, int64_t row, int64_t k) const {
  alignas(64) float room[kMaxTile];
  const int64_t channels = std::min(block_, K_ - k);
  const int64_t step = over_rows_ ? strip_.row_step() : end;
  for (int64_t r = begin / step; r * step < end; ++r) {
    const int64_t from = std::max(begin, r * step);
    const int64_t count = std::min(end, r * step + task.at.columns) - from;
    if (count <= 0) continue;
    const int64_t pixel = task.at.n * plane_ + (task.at.p + row + r) * Q_ + task.at.q;
    const int64_t y = (pixel + from - r * step) * c_.K + task.at.g * K_ + k;
    if (!convert_.halves()) {
      transpose_(tile + from - begin, pitch, channels, count, call.floats(y), c_.K);
      continue;
    }
    transpose_(tile + from - begin, pitch, channels, count, room, channels);
    rows_from_f32(convert_, room, channels, convert_.at(call.y, y), c_.K, count, channels, false);
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
    float* sums =
        task.sums ? task.sums + ((block - task.first) * tiles + tile) * kMaxTile : nullptr;
    tile_of_channels(call, task, block, begin, end - begin, sums);
  }
}

/// Pixels [first, first + pixels) of the task, counted along its rows.
void General::tile_of_channels(const Call& call, const Task& task, int64_t block, int64_t first,
                               int64_t pixels, float* sums) const {
  alignas(64) float room[kMaxTile];
  int64_t from[kMaxPixels], to[kMaxPixels], in_tile[kMaxPixels];
  int64_t p = first / task.at.columns, q = first % task.at.columns;
  for (int64_t i = 0; i < pixels; ++i) {
    from[i] = strip_.place(p, q);
    to[i] = (task.at.p + p) * Q_ + task.at.q + q;
    in_tile[i] = i;
    if (++q == task.at.columns) q = 0, ++p;
  }
  const int64_t k = block * block_, channels = std::min(block_, K_ - k);
  const int64_t width = round_up(channels, lanes_);
  const int64_t channel = task.at.g * K_ + k;
  const int64_t image = task.at.n * c_.K * plane_ + channel * (nchw_ ? plane_ : 1);
  const bool straight = !nchw_ && channels == width && !convert_.halves();
  float* tile = sums && !straight ? sums : room;
  const bool last = sum_up(call, task, k, [&](general::Sum& s) {
    s.x = task.strip;
    kernels_.by_channels(int(pixels), int(width / lanes_), s, from,
                         straight ? call.floats(image) : tile, straight ? to : in_tile,
                         straight ? c_.K : width);
  });
  if (straight || !last) return;
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
    // Zen 4, 3 channels of 1024x768, 5x5 and 7x7: 1.2 to 1.3 times what it adds up to.
    const double few = p.C_per_group() <= 4 ? 1.2 : 1;
    return few * Chooser(context, p).choose().seconds;
  };
  row.make = [&context](const ConvProblem& problem) {
    const ConvProblem p = without_rows(problem);
    return std::make_unique<General>(context, p, Chooser(context, p).choose());
  };
  return row;
}

}  // namespace metalconv::cpu
