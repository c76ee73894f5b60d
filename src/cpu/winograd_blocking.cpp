// SPDX-License-Identifier: Apache-2.0
#include "cpu/winograd_blocking.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "cpu/call.h"

namespace metalconv::cpu::winograd_tiles {
namespace {

using std::int64_t;

constexpr int64_t kMostTiles = 384;  // of a task
constexpr int64_t kChunk = 16;       // input channels of a chunk, or a multiple
constexpr int64_t kWideLanes = 16;   // of AVX-512

/// Counts in vector multiply-adds, of which `rate` billion a second are done. Constants were fitted
/// on Zen 4, AVX-512: those of pixels to 1700 choices for 21 problems of 16 to 512 channels and
/// maps of 7 to 128, the others as said below. Estimates are 10 % off.
class Chooser {
 public:
  Chooser(const Context& context, const Shape& shape)
      : threads_(context.threads()),
        cache_(int64_t(context.core_cache())),
        llc_(int64_t(context.last_cache())),
        s_(shape) {}

  Blocking choose() const {
    Blocking best;
    try_tiles(false, &best);
    if (s_.nchw) try_tiles(true, &best);
    return best;
  }

 private:
  void try_tiles(bool by_pixels, Blocking* best) const {
    const int64_t unit = by_pixels ? s_.lanes : 2 * s_.gemm.pixels;
    // Few, where the memory is.
    const int64_t fewest = by_pixels ? s_.lanes : 2;
    const int64_t block = s_.block(by_pixels);
    for (int64_t tiles = fewest; tiles <= kMostTiles; tiles = next(tiles, unit)) {
      Blocking b;
      b.by_pixels = by_pixels;
      // Tasks of equal size: of 64 tiles 32 + 32, not 48 + 16.
      const int64_t all = std::max<int64_t>(s_.tiles, 1),
                    even = ceil_div(all, ceil_div(all, tiles));
      b.tiles = std::min(by_pixels ? round_up(even, s_.lanes) : even, all);
      for (b.splits = 1; b.splits <= threads_; ++b.splits) {
        const int64_t share = round_up(ceil_div(s_.K, b.splits), block);
        if (share * (b.splits - 1) >= s_.K) break;
        // All channels together, or fewer and fewer.
        for (b.group = share;; b.group = round_up(b.group / 2, block)) {
          try_chunks(b, share, best);
          if (b.group == block) break;
        }
      }
      if (tiles >= s_.tiles) break;
    }
  }

  static int64_t next(int64_t tiles, int64_t unit) {
    return tiles < unit ? std::min(2 * tiles, unit) : tiles + unit;
  }

  /// All input channels together, or as many as the memory allows.
  void try_chunks(Blocking b, int64_t share, Blocking* best) const {
    for (int64_t chunks = 1;; ++chunks) {
      const int64_t chunk = round_up(ceil_div(s_.C, chunks), kChunk);
      b.chunk = chunks == 1 ? s_.C : chunk;
      // The transforms take no less than a vector of channels.
      const int64_t last = s_.C - (ceil_div(s_.C, b.chunk) - 1) * b.chunk;
      if (b.by_pixels || last >= s_.lanes) {
        b.excess = excess(b);
        b.seconds = seconds(b, double(share));
        if (std::tie(b.excess, b.seconds) < std::tie(best->excess, best->seconds)) *best = b;
        if (b.excess == 0) return;
      }
      if (chunk == kChunk) return;
    }
  }

  /// Bytes of workspace above what is allowed.
  int64_t excess(const Blocking& b) const {
    const Slots slots(threads_, Layouts(s_, b).floats, bias_floats(s_.c));
    return std::max<int64_t>(int64_t(slots.bytes()) - workspace_limit(s_.c, threads_), 0);
  }

  /// What differs by what vectors hold.
  struct Costs {
    double step, chunk;      ///< of a sum: an input channel; going on from the chunk before
    double few, full;        ///< ... of fewer pixels than a register tile: 1 + few / pixels; of all
    double in, in_place;     ///< transforms of inputs: copied or turned from planes; f32 in NHWC
    double again;            ///< ... for one group of output channels more, in NHWC
    double out;              ///< transforms of outputs
    double turned, pages;    ///< a pixel from planes; where those are whole pages
    double fills;            ///< part of the core's cache from which on a thread's own leave it,
    double leaves, beyond;   ///< ... a byte for each such cache, and at most
    double cached, fetched;  ///< a byte of weights from the last cache, and at most
    double fetch;            ///< ... by this, divided by the tiles, more
  };
  static constexpr Costs kPixels{0.8, 3, 0, 1,    20,   20,    0.4, 2.5,
                                 0,   0, 1, 0.05, 0.13, 0.055, 0.2, 4};
  // 244 choices for 17 problems on Zen 4, AVX-512: the chosen are 1.6 % slower than the best, 13 %
  // with the constants of other pixels.
  static constexpr Costs kPieces{0.8, 4, 0, 1, 17, 17, 1, 5.2, 0, 0, 1, 0.09, 0.4, 0.055, 0.09, 4};
  static constexpr Costs kChannels{0.8, 3,   1, 1,    20,   14,    0.4, 2.5,
                                   0.9, 0.9, 1, 0.05, 0.13, 0.055, 0.2, 4};
  // 430 choices for 39 problems there, both layouts: 3 % slower. Weights cost little even where a
  // few tiles read them, as the next ones come while others are multiplied; tiles of all pixels
  // have no registers left for where their rows are. With kChannels small maps took 1.2x as long;
  // AVX2, which computes the same in half the width, is better off with those.
  static constexpr Costs kWideChannels{0.905, 6,   0.19, 1.24,  12.6, 19,    1,     2,
                                       0.5,   1.7, 0.65, 0.087, 0.15, 0.005, 0.033, 2};
  const Costs& costs_of(const Blocking& b) const {
    if (b.by_pixels) return s_.piece > 0 ? kPieces : kPixels;
    return s_.lanes >= kWideLanes ? kWideChannels : kChannels;
  }

  /// `share`: output channels of a task at most.
  double seconds(const Blocking& b, double share) const {
    const int64_t tasks =
        s_.c.groups * ceil_div(std::max<int64_t>(s_.tiles, 1), b.tiles) * b.splits;
    // Of several tasks a thread has larger shares and smaller ones.
    const double K =
        tasks > threads_ ? std::min(share, double(s_.padded) / double(b.splits)) : share;
    const double p = double(s_.products), C = double(s_.C);
    const Costs& costs = costs_of(b);
    const bool pieces = &costs == &kPieces;
    // Vectors of tiles for each channel, or tiles for each vector of channels.
    const double vectors = double(b.by_pixels ? ceil_div(b.tiles, s_.lanes) : b.tiles);
    const double lanes = b.by_pixels ? 1 : double(s_.lanes);
    const double sums = vectors * K / lanes;
    const double chunks = std::ceil(C / double(b.chunk));
    // Of input channels, or of vectors of them.
    const double inputs = b.by_pixels ? C : double(ceil_div(s_.C, s_.lanes));
    const double v = 4 * p * C * double(b.tiles), m = 4 * p * double(b.group * b.tiles);
    const double w = 4 * p * C * K, passes = std::ceil(K / double(b.group));
    // Of the transform of the inputs; those after the first find their pixels in a cache, unless
    // they are turned from planes again (Zen 4: 512 channels of 32x32 took 10 ms, by tiles 7.3).
    const double again = s_.nchw && !b.by_pixels ? 1 : costs.again;
    const double repeats = chunks > 1 ? 1 + again * (passes - 1) : 1;
    // Few tiles do not hide that weights are fetched.
    const double fetch = 1 + costs.fetch / double(b.tiles);
    const double memory = own(v / chunks + m, costs) * (v * passes + m * passes * 2 * chunks) +
                          fetch * shared(w * double(b.splits * s_.c.groups), costs) * w;
    // What is turned from planes to pixels and back, or goes one by one for the dilation's sake.
    // Planes of whole pages fall into the same sets of the cache.
    const bool pages = s_.c.H * s_.c.W % 1024 == 0;
    const double apart = !s_.nchw              ? 0
                         : !b.by_pixels        ? (pages ? costs.pages : costs.turned)
                         : s_.c.dilation_w > 1 ? 1.4
                                               : 0;
    const double turned = apart * double(b.tiles * s_.m * s_.m) * (1.5 * C * repeats + K);
    // Of the transforms vectors of tiles run in rows, the last of which is not full.
    const double row = double(s_.columns.in_image), parts = 1 + double(b.tiles - 1) / row;
    const bool whole = !b.by_pixels || pieces;
    const double filled = whole ? 1 : 1 + 0.35 * parts / vectors;
    // Pixels that are read where they are need no copy. Of short rows more are not whole vectors.
    const double in = (s_.nchw || s_.c.dtype != DType::f32 ? costs.in : costs.in_place) +
                      (pieces ? 4.5 / std::min(row, 16.0) : 0);
    const double task =
        in_registers(b) * p * sums * (C * costs.step + 1.2 + costs.chunk * (chunks - 1)) +
        filled * p * (in * vectors * inputs * repeats + costs.out * sums) + memory + turned;
    const double rounds = std::max(double(ceil_div(tasks, threads_)), double(tasks) / threads_);
    return 3e-6 + rounds * task / (s_.gemm.rate * 1e9);
  }
  /// Register tiles of one vector wait for their sums, those of two for their loads; those of few
  /// pixels for the weights.
  double in_registers(const Blocking& b) const {
    const Costs& costs = costs_of(b);
    if (!b.by_pixels)
      return b.tiles < s_.gemm.pixels ? 1 + costs.few / double(b.tiles) : costs.full;
    const int64_t vectors = ceil_div(b.tiles, s_.lanes), wide = s_.gemm.pixel_vectors;
    const double each = double(vectors) / double(ceil_div(vectors, wide));
    const double one = s_.piece && s_.lanes >= kWideLanes ? 1.05 : 1.25,
                 two = s_.piece ? 1.09 : 1.04;
    return each < 1.5 ? one : each <= 2.5 ? two : 1;
  }
  /// What a byte costs of the `bytes` that a thread writes and reads again.
  double own(double bytes, const Costs& costs) const {
    if (llc_ > 0 && bytes * threads_ > 0.25 * double(llc_)) return 1;
    return std::clamp(0.02 + costs.leaves * (bytes / double(cache_) - costs.fills), 0.02,
                      costs.beyond);
  }
  /// What a byte costs of the `bytes` that all threads read, one after the other.
  double shared(double bytes, const Costs& costs) const {
    if (bytes < double(cache_) * 0.7) return 0.015;
    // From the last cache, and more and more from memory.
    const double part = llc_ > 0 ? bytes / double(llc_) : 0;
    return std::clamp(costs.cached + 0.36 * (part - 0.4), costs.cached, costs.fetched);
  }

  int threads_;
  int64_t cache_, llc_;
  const Shape& s_;
};

}  // namespace

double seconds_from_memory(const Context& context, const Shape& shape) {
  const double weights = 4.0 * double(shape.products * shape.C * shape.padded * shape.c.groups);
  // Zen 4, 2 threads: 38 MB for 512 channels of 7x7 take F(4x4) 1.0 to 1.2 ms, F(2x2) 0.95.
  constexpr double kRate = 32e9;
  return weights > double(context.last_cache()) && context.last_cache() > 0 ? weights / kRate : 0;
}

Blocking choose_blocking(const Context& context, const Shape& shape) {
  return Chooser(context, shape).choose();
}

}  // namespace metalconv::cpu::winograd_tiles
