// SPDX-License-Identifier: Apache-2.0
#include "cpu/winograd_blocking.h"

#include <cmath>
#include <tuple>

namespace metalconv::cpu::winograd_tiles {
namespace {

using std::int64_t;

constexpr int64_t kSlot = 4 << 20;  // bytes a thread that the smallest tensors may cost

/// Counts in vector multiply-adds, of which `rate` billion a second are done; constants were fitted
/// on Zen 3.
class Chooser {
 public:
  Chooser(const Context& context, const Shape& shape)
      : threads_(context.threads()),
        cache_(int64_t(context.core_cache())),
        llc_(int64_t(context.last_cache())),
        s_(shape) {}

  Blocking choose() const {
    Blocking best;
    // Rows of pixels are converted from halves, single floats are not.
    if (!s_.nchw || s_.c.dtype == DType::f32) try_tiles(false, &best);
    if (s_.nchw) try_tiles(true, &best);
    return best;
  }

 private:
  void try_tiles(bool by_pixels, Blocking* best) const {
    const int64_t unit = by_pixels ? s_.gemm.pixel_vectors * s_.lanes : 2 * s_.gemm.pixels;
    const int64_t block = s_.block(by_pixels);
    for (int64_t tiles = unit; tiles <= 16 * unit; tiles += unit) {
      Blocking b;
      b.by_pixels = by_pixels;
      b.tiles = std::min(tiles, std::max<int64_t>(s_.tiles, 1));
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
        from(v + m) * (v * passes + m * passes * 2) + from(w * double(b.splits * s_.c.groups)) * w;
    // Floats that go one by one, from rows of pixels to channels and back, or by the dilation.
    const double pixels = double(b.tiles * s_.m * s_.m) * (1.5 * C + K);
    const bool single = (s_.nchw && !b.by_pixels) || s_.c.dilation_w > 1;
    const bool near = s_.c.x_bytes() + s_.c.y_bytes() < 2 * cache_;
    const double moved = single ? (near ? 1 : 8) * pixels : 0;
    // Vectors of tiles run in rows, the last of which is not full.
    const double filled = b.by_pixels ? 1.2 : 1.0;
    const double task = filled * p * sums * (C * 1.1 + 3) + 7 * p * vectors * C / lanes +
                        4 * p * sums + memory + moved;
    const int64_t tasks =
        s_.c.groups * ceil_div(std::max<int64_t>(s_.tiles, 1), b.tiles) * b.splits;
    const double rounds = std::max(double(ceil_div(tasks, threads_)), double(tasks) / threads_);
    return 3e-6 + rounds * task / (s_.gemm.rate * 1e9);
  }
  /// What a byte costs that comes from where `bytes` of them stay.
  double from(double bytes) const {
    if (bytes < double(cache_) * 0.7) return 0.02;
    return llc_ == 0 || bytes < double(llc_) * 0.6 ? 0.15 : 0.2;
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
