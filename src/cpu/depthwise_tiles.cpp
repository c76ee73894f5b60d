// SPDX-License-Identifier: Apache-2.0
#include "cpu/depthwise.h"
#include "cpu/isa.h"  // before Highway

#include <algorithm>
#include <type_traits>

/// Of a lambda.
#undef METALCONV_INLINED
#define METALCONV_INLINED __attribute__((always_inline))

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
constexpr int kVectors = 6, kRows = 4, kPixels = 8;

/// By comparison, so that NaN stays: Max and Min may drop it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Activate(D d, V v, const Clamp& clamp) {
  if (!clamp.on) return v;
  const V low = hn::Set(d, clamp.low), high = hn::Set(d, clamp.high);
  v = hn::IfThenElse(hn::Lt(v, low), low, v);
  return hn::IfThenElse(hn::Lt(high, v), high, v);
}

/// The sums of kCount outputs along one axis, where output i's tap t is at position
/// i * kStep + t: each position is read once. `x(o)` is the first position of the o-th of `others`
/// taps along the other axis, `w(o, t)` a tap's weight.
template <int kCount, int kTaps, int kStep, class D, class Input, class Weight>
HWY_INLINE void AddShared(D d, int64_t others, int64_t step, Input x, Weight w,
                          hn::Vec<D> (&sum)[kCount]) {
  for (int64_t o = 0; o < others; ++o) {
    hn::Vec<D> weights[kTaps];
    HWY_UNROLL(8)
    for (int t = 0; t < kTaps; ++t) weights[t] = w(o, t);
    const float* from = x(o);
    HWY_UNROLL(24)
    for (int at = 0; at < (kCount - 1) * kStep + kTaps; ++at, from += step) {
      const auto v = hn::LoadU(d, from);
      HWY_UNROLL(8)
      for (int t = at % kStep; t < kTaps; t += kStep) {
        const int i = (at - t) / kStep;
        if (t <= at && i < kCount) sum[i] = hn::MulAdd(v, weights[t], sum[i]);
      }
    }
  }
}

/// run(c, first) for `n` outputs in tiles of nearly equal size, at most kMost: c is a
/// std::integral_constant, their number. A lone output at the end would wait for each of its sums.
template <int kMost, class Run>
HWY_INLINE void Counted(int64_t count, Run run) {
  if constexpr (kMost > 1)
    if (count < kMost) return Counted<kMost - 1>(count, run);
  run(std::integral_constant<int, kMost>());
}
template <int kMost, class Run>
HWY_INLINE void InTiles(int64_t n, Run run) {
  int64_t tiles = hwy::DivCeil(n, int64_t(kMost));
  for (int64_t first = 0, count; first < n; first += count, --tiles) {
    count = hwy::DivCeil(n - first, tiles);
    Counted<kMost>(count, [=](auto c) METALCONV_INLINED { run(c, first); });
  }
}

// -- NCHW --

template <int kCount>
HWY_INLINE void PlaneTile(const Plane& p, int64_t first) {
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

void AllVectors(const Plane& plane) {
  const Plane p = plane;
  InTiles<kVectors>(p.vectors, [=](auto count, int64_t first) METALCONV_INLINED {
    PlaneTile<decltype(count)::value>(p, first);
  });
}

template <int kR, int kStride>
void AllRows(const Rows& rows) {
  const Rows p = rows;  // by value: what the pointers are written through cannot change it
  const hn::ScalableTag<float> d;
  const auto lanes = int64_t(hn::Lanes(d));
  InTiles<kRows>(p.rows, [=](auto count, int64_t row) METALCONV_INLINED {
    constexpr int kCount = decltype(count)::value;
    const float* x = p.x + row * kStride * p.x_row;
    for (int64_t q = 0; q < p.columns; q += lanes) {
      const int64_t column = std::min(q, p.columns - lanes);
      hn::Vec<decltype(d)> sum[kCount];
      HWY_UNROLL(8)
      for (int i = 0; i < kCount; ++i) sum[i] = hn::Set(d, p.bias);
      AddShared<kCount, kR, kStride>(
          d, p.S, p.x_row, [=](int64_t s) METALCONV_INLINED { return x + column + p.taps[s]; },
          [=](int64_t s, int r) METALCONV_INLINED { return hn::Set(d, p.w[r * p.S + s]); }, sum);
      float* y = p.y + row * p.y_row + column;
      HWY_UNROLL(8)
      for (int i = 0; i < kCount; ++i, y += p.y_row) hn::StoreU(Activate(d, sum[i], p.clamp), d, y);
    }
  });
}

RowsKernel rows_kernel(int64_t R, int64_t stride) {
  if (R == 3 && stride == 1) return AllRows<3, 1>;
  if (R == 3 && stride == 2) return AllRows<3, 2>;
  if (R == 5 && stride == 1) return AllRows<5, 1>;
  if (R == 5 && stride == 2) return AllRows<5, 2>;
  return nullptr;
}

// -- NHWC --

/// Few pixels take several vectors of channels, or each sum would wait for the one before it.
template <int kCount>
constexpr int kWidth = kCount > 3    ? 1
                       : kCount == 3 ? 2
                       : kCount == 2 ? 3
                                     : 4;

/// kWide vectors of channels, from c on, of kCount pixels from q on. kTaps columns that
/// neighbours share at a distance of kStep, or 0 for any.
template <int kCount, int kTaps, int kStep, int kWide, class D>
HWY_INLINE void PixelTile(D d, const Pixels& p, int64_t q, int64_t c) {
  const auto lanes = int64_t(hn::Lanes(d));
  hn::Vec<D> sum[kWide][kCount];
  HWY_UNROLL(4)
  for (int v = 0; v < kWide; ++v) {
    const auto bias = p.bias ? hn::LoadU(d, p.bias + c + v * lanes) : hn::Zero(d);
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) sum[v][i] = bias;
  }
  const int64_t step = p.x_pixel;
  const float* x_row = p.x + q * step + c;
  const float* w_row = p.w + c;
  if constexpr (kStep > 0) {
    AddShared<kCount, kTaps, kStep>(
        d, p.rows, p.x_column, [=](int64_t r) METALCONV_INLINED { return x_row + r * p.x_row; },
        [=](int64_t r, int s)
            METALCONV_INLINED { return hn::LoadU(d, w_row + r * p.w_row + s * p.w_column); },
        sum[0]);
  } else {
    for (int64_t r = 0; r < p.rows; ++r, x_row += p.x_row, w_row += p.w_row) {
      const float* x = x_row;
      const float* w = w_row;
      HWY_UNROLL(1)
      for (int64_t s = 0; s < p.columns; ++s, x += p.x_column, w += p.w_column) {
        HWY_UNROLL(4)
        for (int v = 0; v < kWide; ++v) {
          const auto weight = hn::LoadU(d, w + v * lanes);
          HWY_UNROLL(8)
          for (int i = 0; i < kCount; ++i)
            sum[v][i] = hn::MulAdd(hn::LoadU(d, x + i * step + v * lanes), weight, sum[v][i]);
        }
      }
    }
  }
  float* y = p.y + q * p.y_pixel + c;
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i, y += p.y_pixel) {
    HWY_UNROLL(4)
    for (int v = 0; v < kWide; ++v) hn::StoreU(Activate(d, sum[v][i], p.clamp), d, y + v * lanes);
  }
}

/// All channels of kCount pixels: the last vector overlaps the one before it where they do not fill
/// it. A function of its own: the compiler spills where all sizes share one.
template <int kCount, int kTaps, int kStep, class D>
HWY_NOINLINE void PixelTiles(D d, const Pixels& pixels, int64_t q) {
  const Pixels p = pixels;  // what the pointers are written through cannot change it
  constexpr int kWide = kStep > 0 ? 1 : kWidth<kCount>;
  const auto lanes = int64_t(hn::Lanes(d));
  int64_t c = 0;
  if constexpr (kWide > 1)
    for (; c + kWide * lanes <= p.channels; c += kWide * lanes)
      PixelTile<kCount, kTaps, kStep, kWide>(d, p, q, c);
  for (; c < p.channels; c += lanes)
    PixelTile<kCount, kTaps, kStep, 1>(d, p, q, std::min(c, p.channels - lanes));
}

template <int kTaps, int kStep, class D>
HWY_INLINE void AllTiles(D d, const Pixels& p) {
  InTiles<kPixels>(p.pixels, [&](auto count, int64_t q) {
    constexpr int kCount = decltype(count)::value;
    constexpr int kShared = kCount > 2;  // two share too little to be worth one vector at a time
    PixelTiles<kCount, kShared * kTaps, kShared * kStep>(d, p, q);
  });
}

template <class D>
HWY_INLINE void AllPixels(D d, const Pixels& p) {
  const int64_t step = p.x_pixel == p.x_column ? 1 : p.x_pixel == 2 * p.x_column ? 2 : 0;
  if (p.columns == 3 && step == 1) return AllTiles<3, 1>(d, p);
  if (p.columns == 3 && step == 2) return AllTiles<3, 2>(d, p);
  if (p.columns == 5 && step == 1) return AllTiles<5, 1>(d, p);
  if (p.columns == 5 && step == 2) return AllTiles<5, 2>(d, p);
  AllTiles<0, 0>(d, p);
}

void AllPixels(const Pixels& p) {
  const hn::ScalableTag<float> full;
  if (p.channels >= int64_t(hn::Lanes(full))) return AllPixels(full, p);
  if (p.channels >= 4) return AllPixels(hn::CappedTag<float, 4>(), p);
  AllPixels(hn::CappedTag<float, 1>(), p);
}

const Kernels* kernels() {
  static const Kernels table{HWY_TARGET, int(hn::Lanes(hn::ScalableTag<float>())), AllVectors,
                             rows_kernel, AllPixels};
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
