// SPDX-License-Identifier: Apache-2.0
#include "cpu/winograd_blocking.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace metalconv::cpu::winograd_tiles {
namespace {

using std::int64_t;

constexpr int64_t kMostTiles = 384;  // of a task
constexpr int64_t kSlot = 4 << 20;   // bytes a thread that the smallest tensors may cost

/// Counts in vector multiply-adds, of which `rate` billion a second are done. Constants were fitted
/// on Zen 4 to 1700 choices for 21 problems of 16 to 512 channels and maps of 7 to 128, both
/// layouts: the chosen is 1.8 % slower than the best in the geometric mean, estimates are 11 % off.
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
    const int64_t block = s_.block(by_pixels);
    for (int64_t tiles = unit; tiles <= kMostTiles; tiles += unit) {
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
          b.excess = excess(b);
          b.seconds = seconds(b, double(share));
          if (std::tie(b.excess, b.seconds) < std::tie(best->excess, best->seconds)) *best = b;
          if (b.group == block) break;
        }
      }
      if (tiles >= s_.tiles) break;
    }
  }

  /// Bytes beside the tensors above what is allowed: the larger tensor, if that is not a small one.
  int64_t excess(const Blocking& b) const {
    const int64_t most = std::max({s_.c.x_bytes(), s_.c.y_bytes(), kSlot * threads_});
    const int64_t bytes = Layouts(s_, b).floats * int64_t(sizeof(float)) * threads_;
    return std::max<int64_t>(bytes - most, 0);
  }

  /// K: output channels of a task.
  double seconds(const Blocking& b, double K) const {
    const double p = double(s_.products), C = double(s_.C);
    // Vectors of tiles for each channel, or tiles for each vector of channels.
    const double vectors = double(b.by_pixels ? ceil_div(b.tiles, s_.lanes) : b.tiles);
    const double lanes = b.by_pixels ? 1 : double(s_.lanes);
    const double sums = vectors * K / lanes;
    const double v = 4 * p * C * double(b.tiles), m = 4 * p * double(b.group * b.tiles);
    const double w = 4 * p * C * K, passes = std::ceil(K / double(b.group));
    const double memory =
        own(v + m) * (v * passes + m * passes * 2) + shared(w * double(b.splits * s_.c.groups)) * w;
    // What is turned from planes to pixels and back, or goes one by one for the dilation's sake.
    const double apart = !s_.nchw ? 0 : !b.by_pixels ? 0.7 : s_.c.dilation_w > 1 ? 1.4 : 0;
    const double turned = apart * double(b.tiles * s_.m * s_.m) * (1.5 * C + K);
    // Of the transforms vectors of tiles run in rows, the last of which is not full.
    const double filled = b.by_pixels && s_.columns.in_image % s_.lanes != 0 ? 1.4 : 1.0;
    const double task = in_registers(b) * p * sums * (C * 0.8 + 1.2) +
                        filled * p * (20 * vectors * C / lanes + 2.5 * sums) + memory + turned;
    const int64_t tasks =
        s_.c.groups * ceil_div(std::max<int64_t>(s_.tiles, 1), b.tiles) * b.splits;
    const double rounds = std::max(double(ceil_div(tasks, threads_)), double(tasks) / threads_);
    return 3e-6 + rounds * task / (s_.gemm.rate * 1e9);
  }
  /// Register tiles of one vector wait for their sums, those of two for their loads.
  double in_registers(const Blocking& b) const {
    if (!b.by_pixels) return 1;
    const int64_t vectors = ceil_div(b.tiles, s_.lanes), wide = s_.gemm.pixel_vectors;
    const double each = double(vectors) / double(ceil_div(vectors, wide));
    return each < 1.5 ? 1.25 : each < 2.5 ? 1.1 : 1;
  }
  /// What a byte costs of the `bytes` that a thread writes and reads again.
  double own(double bytes) const {
    if (llc_ > 0 && bytes * threads_ > 0.25 * double(llc_)) return 1;
    return std::clamp(0.02 + 0.05 * (bytes / double(cache_) - 1), 0.02, 0.13);
  }
  /// What a byte costs of the `bytes` that all threads read, one after the other.
  double shared(double bytes) const {
    if (bytes < double(cache_) * 0.7) return 0.015;
    return llc_ == 0 || bytes < double(llc_) * 0.6 ? 0.055 : 0.1;
  }

  int threads_;
  int64_t cache_, llc_;
  const Shape& s_;
};

}  // namespace

Blocking choose_blocking(const Context& context, const Shape& shape) {
  return Chooser(context, shape).choose();
}

}  // namespace metalconv::cpu::winograd_tiles
