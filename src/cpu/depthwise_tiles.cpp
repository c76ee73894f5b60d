// SPDX-License-Identifier: Apache-2.0
#include "cpu/depthwise.h"
#include "cpu/isa.h"  // before Highway

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/depthwise_tiles.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::depthwise {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using std::int64_t;

// Enough independent sums to hide the latency of a multiply-add, few enough for 16 registers.
constexpr int kVectors = 6, kPixels = 6;

/// By comparison, so that NaN stays: Max and Min may drop it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Activate(D d, V v, const Clamp& clamp) {
  if (!clamp.on) return v;
  const V low = hn::Set(d, clamp.low), high = hn::Set(d, clamp.high);
  v = hn::IfThenElse(hn::Lt(v, low), low, v);
  return hn::IfThenElse(hn::Lt(high, v), high, v);
}

// -- NCHW --

template <int kCount>
void PlaneTile(const Plane& p, int64_t first) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> sum[kCount];
  const float* x[kCount];
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) {
    sum[i] = hn::Set(d, p.bias);
    x[i] = p.x + p.from[first + i];
  }
  HWY_UNROLL(3)
  for (int64_t t = 0; t < p.tap_count; ++t) {
    const int64_t at = p.taps[t];
    const auto w = hn::Set(d, p.w[t]);
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) sum[i] = hn::MulAdd(hn::LoadU(d, x[i] + at), w, sum[i]);
  }
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i)
    hn::StoreU(Activate(d, sum[i], p.clamp), d, p.y + p.to[first + i]);
}

template <int kCount>
void PlaneTiles(const Plane& p, int64_t count, int64_t first) {
  if (count == kCount) return PlaneTile<kCount>(p, first);
  if constexpr (kCount > 1) PlaneTiles<kCount - 1>(p, count, first);
}

/// In tiles of nearly equal size: a lone vector at the end would wait for each of its sums.
void AllVectors(const Plane& p) {
  int64_t tiles = hwy::DivCeil(p.vectors, int64_t(kVectors));
  for (int64_t first = 0, count; first < p.vectors; first += count, --tiles) {
    count = hwy::DivCeil(p.vectors - first, tiles);
    PlaneTiles<kVectors>(p, count, first);
  }
}

// -- NHWC --

/// Channels c to c + Lanes(d) of kCount pixels from pixel q on. kColumns is p.columns, or 0 for
/// any.
template <int kCount, int kColumns, class D>
HWY_INLINE void PixelTile(D d, const Pixels& p, int64_t q, int64_t c) {
  hn::Vec<D> sum[kCount];
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i) sum[i] = p.bias ? hn::LoadU(d, p.bias + c) : hn::Zero(d);
  const int64_t columns = kColumns > 0 ? kColumns : p.columns, step = p.x_pixel;
  const float* x_row = p.x + q * step + c;
  const float* w_row = p.w + c;
  for (int64_t r = 0; r < p.rows; ++r, x_row += p.x_row, w_row += p.w_row) {
    const float* x = x_row;
    const float* w = w_row;
    HWY_UNROLL(3)
    for (int64_t s = 0; s < columns; ++s, x += p.x_column, w += p.w_column) {
      const auto weight = hn::LoadU(d, w);
      HWY_UNROLL(8)
      for (int i = 0; i < kCount; ++i)
        sum[i] = hn::MulAdd(hn::LoadU(d, x + i * step), weight, sum[i]);
    }
  }
  float* y = p.y + q * p.y_pixel + c;
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i, y += p.y_pixel) hn::StoreU(Activate(d, sum[i], p.clamp), d, y);
}

/// All channels of kCount pixels: the last vector overlaps the one before it where they do not fill
/// it.
template <int kCount, int kColumns, class D>
HWY_INLINE void PixelTiles(D d, const Pixels& p, int64_t count, int64_t q) {
  if (count == kCount) {
    const auto lanes = int64_t(hn::Lanes(d));
    for (int64_t c = 0; c < p.channels; c += lanes)
      PixelTile<kCount, kColumns>(d, p, q, std::min(c, p.channels - lanes));
  } else if constexpr (kCount > 1) {
    PixelTiles<kCount - 1, kColumns>(d, p, count, q);
  }
}

template <int kColumns, class D>
HWY_INLINE void AllTiles(D d, const Pixels& p) {
  int64_t tiles = hwy::DivCeil(p.pixels, int64_t(kPixels));
  for (int64_t q = 0, count; q < p.pixels; q += count, --tiles) {
    count = hwy::DivCeil(p.pixels - q, tiles);
    PixelTiles<kPixels, kColumns>(d, p, count, q);
  }
}

/// By value: what the pointers are written through cannot change it.
template <class D>
HWY_INLINE void AllPixels(D d, Pixels p) {
  if (p.columns == 3) return AllTiles<3>(d, p);
  AllTiles<0>(d, p);
}

void AllPixels(const Pixels& p) {
  const hn::ScalableTag<float> full;
  if (p.channels >= int64_t(hn::Lanes(full))) return AllPixels(full, p);
  if (p.channels >= 4) return AllPixels(hn::CappedTag<float, 4>(), p);
  AllPixels(hn::CappedTag<float, 1>(), p);
}

const Kernels* kernels() {
  static const Kernels table{HWY_TARGET, int(hn::Lanes(hn::ScalableTag<float>())), AllVectors,
                             AllPixels};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::depthwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu::depthwise {

HWY_EXPORT(kernels);

const Kernels& kernels_of(std::string_view isa) {
  return kernels_for(isa, HWY_DISPATCH_TABLE(kernels));
}

}  // namespace metalconv::cpu::depthwise
#endif
