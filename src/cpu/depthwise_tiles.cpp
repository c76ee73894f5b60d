// SPDX-License-Identifier: Apache-2.0
#include "cpu/arithmetic.h"
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

/// Whether a masked load reads no more than it gives; Highway's for one lane reads all the same.
#undef METALCONV_MASKED_READS
#define METALCONV_MASKED_READS (!HWY_MEM_OPS_MIGHT_FAULT && HWY_TARGET != HWY_SCALAR)

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::depthwise {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using std::int64_t;

// Enough independent sums to hide the latency of a multiply-add, few enough for 16 registers.
constexpr int kVectors = 6, kRows = 8, kPixels = 8;

constexpr float kOutside = 0;  // what borders hold

/// By comparison, so that NaN stays: Max and Min may drop it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Activate(D d, V v, const Clamp& clamp) {
  if (!clamp.on) return v;
  const V low = hn::Set(d, clamp.low), high = hn::Set(d, clamp.high);
  v = hn::IfThenElse(hn::Lt(v, low), low, v);
  return hn::IfThenElse(hn::Lt(high, v), high, v);
}

/// Loaded once: GCC would read it anew for each of the multiply-adds that share it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Once([[maybe_unused]] D d, V v) {
#if HWY_COMPILER_GCC_ACTUAL && HWY_ARCH_X86
  asm("" : "+v"(v.raw));
#endif
  return v;
}

/// Where the first of a row's pixels begins: its taps' rows that are in the image, and how many.
struct PixelRow {
  const float* x;
  const float* w;
  float* y;
  int64_t taps;
};

/// Adds a row's taps to the sums of kCount pixels whose taps are kStep columns apart: each
/// column is read once, and those outside of [first, last) are not if kBorder.
template <int kCount, int kTaps, int kStep, bool kBorder, class D>
HWY_INLINE void AddShared(D d, const Pixels& p, const float* x, const float* w, int64_t rows,
                          int64_t first, int64_t last, hn::Vec<D> (&sum)[kCount]) {
  constexpr int kColumns = (kCount - 1) * kStep + kTaps;
  for (int64_t r = 0; r < rows; ++r, x += p.x_row, w += p.w_row) {
    hn::Vec<D> weights[kTaps];
    HWY_UNROLL(8)
    for (int t = 0; t < kTaps; ++t) weights[t] = hn::LoadU(d, w + t * p.w_column);
    const float* from = x;
    HWY_UNROLL(24)
    for (int at = 0; at < kColumns; ++at, from += p.x_column) {
      if (kBorder && (at < first || at >= last)) continue;
      const auto v = Once(d, hn::LoadU(d, from));
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

/// Neighbouring columns of rows of W, the first of them `at`, where those outside are 0. No more is
/// read.
template <class D>
class AtBorder {
 public:
  AtBorder(D d, int64_t at, int64_t W) {
    const auto lanes = int64_t(hn::Lanes(d));
    const hn::RebindToSigned<D> di;
    // Iota(di, at) would pass through memory.
    const auto column = hn::Add(hn::Iota(di, 0), hn::Set(di, int32_t(std::clamp(at, -lanes, W))));
    const auto inside =
        hn::AndNot(hn::Lt(column, hn::Zero(di)), hn::Lt(column, hn::Set(di, int32_t(W))));
    mask_ = hn::RebindMask(d, inside);
#if !METALCONV_MASKED_READS
    const int64_t first = std::clamp<int64_t>(at, 0, W - lanes);
    lane_ = hn::IndicesFromVec(
        d, hn::IfThenElseZero(inside, hn::Sub(column, hn::Set(di, int32_t(first)))));
    shift_ = first - at;
#endif
  }
  /// `from`: where column `at` is or would be.
  hn::Vec<D> Load(D d, const float* from) const {
#if !METALCONV_MASKED_READS
    return hn::IfThenElseZero(mask_, hn::TableLookupLanes(hn::LoadU(d, from + shift_), lane_));
#else
    return hn::MaskedLoad(mask_, d, from);
#endif
  }

 private:
  hn::Mask<D> mask_;
#if !METALCONV_MASKED_READS
  decltype(hn::IndicesFromVec(D(), hn::Zero(hn::RebindToSigned<D>()))) lane_;
  int64_t shift_;
#endif
};

/// What every kStride-th column from kFirst on holds. With a stride of 2 low's and high's columns
/// take turns: that needs no shuffle across 128 bits, which keep Zen 4 from multiplying.
template <int kStride, int kFirst, class D>
HWY_INLINE hn::Vec<D> Every([[maybe_unused]] D d, hn::Vec<D> low,
                            [[maybe_unused]] hn::Vec<D> high) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kStride == 2)
    return kFirst == 0 ? hn::OddEven(hn::DupEven(high), low) : hn::OddEven(high, hn::DupOdd(low));
#endif
  return kFirst == 0 ? low : high;
}

/// Sums of what Every gives, in the order of their columns, the last kTurn of them first.
template <int kStride, int kTurn = 0, class D>
HWY_INLINE hn::Vec<D> InOrder([[maybe_unused]] D d, hn::Vec<D> sum) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (kStride == 2) {
    const hn::RebindToSigned<D> di;
    const auto lanes = int32_t(hn::Lanes(d));
    const auto lane = hn::And(hn::Iota(di, lanes - kTurn), hn::Set(di, lanes - 1));
    const auto twice = hn::Add(lane, lane);
    const auto from = hn::IfThenElse(hn::Lt(lane, hn::Set(di, lanes / 2)), twice,
                                     hn::Sub(twice, hn::Set(di, lanes - 1)));
    return hn::TableLookupLanes(sum, hn::IndicesFromVec(d, from));
  }
#endif
  return sum;
}

/// kColumns columns of kR taps, or of `taps` of them for one row of outputs: kCount rows share the
/// input rows from x on. `load(from, i)` gives the i-th of kStride neighbouring vectors.
template <int kCount, int kR, int kStride, int kColumns, class D, class Load>
HWY_INLINE void AddColumns(D d, const Rows& p, const float* x, const float* w, int64_t taps,
                           Load load, hn::Vec<D> (&sum)[kCount]) {
  const int64_t x_row = p.W;
  if constexpr (kCount == 1) {
    HWY_UNROLL(1)
    for (int64_t r = 0; r < taps; ++r, x += x_row, w += kR) {
      const auto low = load(x, 0), high = load(x, kStride - 1);
      sum[0] = hn::MulAdd(Every<kStride, 0>(d, low, high), hn::Set(d, w[0]), sum[0]);
      if constexpr (kColumns == 2)
        sum[0] = hn::MulAdd(Every<kStride, 1>(d, low, high), hn::Set(d, w[1]), sum[0]);
    }
  } else {
    hn::Vec<D> weights[kColumns][kR];
    HWY_UNROLL(8)
    for (int r = 0; r < kR; ++r)
      for (int s = 0; s < kColumns; ++s) weights[s][r] = hn::Set(d, w[r * kR + s]);
    HWY_UNROLL(24)
    for (int at = 0; at < (kCount - 1) * kStride + kR; ++at, x += x_row) {
      const auto low = load(x, 0), high = load(x, kStride - 1);
      const auto v = Once(d, Every<kStride, 0>(d, low, high));
      const auto next = kColumns == 2 ? Once(d, Every<kStride, 1>(d, low, high)) : v;
      HWY_UNROLL(8)
      for (int r = at % kStride; r < kR; r += kStride) {
        const int i = (at - r) / kStride;
        if (r > at || i >= kCount) continue;
        sum[i] = hn::MulAdd(v, weights[0][r], sum[i]);
        if constexpr (kColumns == 2) sum[i] = hn::MulAdd(next, weights[1][r], sum[i]);
      }
    }
  }
}

/// Rows [row, row + kCount) of the outputs, by rows [begin, end) of the kernel if it is only one.
template <int kCount, int kR, int kStride>
HWY_NOINLINE void RowsTile(const Rows& rows, int64_t row, int64_t begin, int64_t end) {
  const Rows p = rows;  // by value: what the pointers are written through cannot change it
  const hn::ScalableTag<float> d;
  const auto lanes = int64_t(hn::Lanes(d));
  const float* x_row = p.x + (p.top + row * kStride + begin) * p.W;
  float* y_row = p.y + row * p.columns;
  for (int64_t q = 0; q < p.columns; q += lanes) {
    const int64_t column = std::min(q, p.columns - lanes);  // the last overlaps the one before
    hn::Vec<decltype(d)> sum[kCount];
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) sum[i] = hn::Set(d, p.bias);
    const auto add = [&](int64_t s, auto columns) METALCONV_INLINED {
      constexpr int kColumns = decltype(columns)::value;
      const int64_t at = p.left + column * kStride + s;
      const float *x = x_row + at, *w = p.w + begin * kR + s;
      if (at >= 0 && at + kStride * lanes <= p.W) {
        AddColumns<kCount, kR, kStride, kColumns>(
            d, p, x, w, end - begin,
            [=](const float* from, int i)
                METALCONV_INLINED { return hn::LoadU(d, from + i * lanes); },
            sum);
      } else {
        const AtBorder<decltype(d)> low(d, at, p.W), high(d, at + (kStride - 1) * lanes, p.W);
        AddColumns<kCount, kR, kStride, kColumns>(
            d, p, x, w, end - begin,
            [=](const float* from, int i) METALCONV_INLINED {
              return i == 0 ? low.Load(d, from) : high.Load(d, from + lanes);
            },
            sum);
      }
    };
    HWY_UNROLL(1)
    for (int64_t s = 0; s + kStride <= kR; s += kStride)
      add(s, std::integral_constant<int, kStride>());
    if constexpr (kR % kStride != 0) add(kR - 1, std::integral_constant<int, 1>());
    float* y = y_row + column;
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i, y += p.columns)
      hn::StoreU(InOrder<kStride>(d, Activate(d, sum[i], p.clamp)), d, y);
  }
}

/// As AddColumns, all columns of 3x3 taps with a stride of 2, each read once. The first of a tap's
/// three columns is the last of the output before it: its products have sums of their own,
/// `before`, where the last lane is free for *first, the column before x.
template <int kCount, class D, class Load>
HWY_INLINE void AddPairs(D d, const Rows& p, const float* x, const float* first, const float* w,
                         int64_t taps, Load load, hn::Vec<D> (&sum)[kCount],
                         hn::Vec<D> (&before)[kCount]) {
  const int64_t x_row = p.W, first_row = first == &kOutside ? 0 : x_row;
  const auto last = hn::Not(hn::FirstN(d, hn::Lanes(d) - 1));
  const auto next_row = [&](auto add) METALCONV_INLINED {
    const auto low = load(x, 0), high = load(x, 1);
    const auto odd = Once(d, Every<2, 1>(d, low, high));
    add(Once(d, hn::IfThenElse(last, hn::Set(d, *first), odd)), Once(d, Every<2, 0>(d, low, high)),
        odd);
    x += x_row;
    first += first_row;
  };
  if constexpr (kCount == 1) {
    HWY_UNROLL(1)
    for (int64_t r = 0; r < taps; ++r, w += 3)
      next_row([&](auto v0, auto v1, auto v2) METALCONV_INLINED {
        before[0] = hn::MulAdd(v0, hn::Set(d, w[0]), before[0]);
        sum[0] = hn::MulAdd(v1, hn::Set(d, w[1]), sum[0]);
        sum[0] = hn::MulAdd(v2, hn::Set(d, w[2]), sum[0]);
      });
  } else {
    hn::Vec<D> weights[9];
    HWY_UNROLL(9)
    for (int t = 0; t < 9; ++t) weights[t] = hn::Set(d, w[t]);
    HWY_UNROLL(24)
    for (int at = 0; at < 2 * kCount + 1; ++at)
      next_row([&](auto v0, auto v1, auto v2) METALCONV_INLINED {
        HWY_UNROLL(2)
        for (int r = at % 2; r < 3; r += 2) {
          const int i = (at - r) / 2;
          if (r > at || i >= kCount) continue;
          before[i] = hn::MulAdd(v0, weights[3 * r], before[i]);
          sum[i] = hn::MulAdd(v1, weights[3 * r + 1], sum[i]);
          sum[i] = hn::MulAdd(v2, weights[3 * r + 2], sum[i]);
        }
      });
  }
}

/// As RowsTile, of 3x3 taps with a stride of 2: a half of its loads and, with a padding of 1, from
/// where rows begin: 0.7 of the time.
template <int kCount>
HWY_NOINLINE void PairsTile(const Rows& rows, int64_t row, int64_t begin, int64_t end) {
  const Rows p = rows;
  const hn::ScalableTag<float> d;
  const auto lanes = int64_t(hn::Lanes(d));
  const float* x_row = p.x + (p.top + row * 2 + begin) * p.W;
  const float* w = p.w + begin * 3;
  for (int64_t q = 0; q < p.columns; q += lanes) {
    const int64_t column = std::min(q, p.columns - lanes);
    hn::Vec<decltype(d)> sum[kCount], before[kCount];
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) {
      sum[i] = hn::Set(d, p.bias);
      before[i] = hn::Zero(d);
    }
    const int64_t at = p.left + column * 2 + 1;
    const float* x = x_row + at;
    const float* first = at > 0 && at <= p.W ? x - 1 : &kOutside;
    if (at >= 0 && at + 2 * lanes <= p.W) {
      AddPairs(
          d, p, x, first, w, end - begin,
          [=](const float* from, int i)
              METALCONV_INLINED { return hn::LoadU(d, from + i * lanes); },
          sum, before);
    } else {
      const AtBorder<decltype(d)> low(d, at, p.W), high(d, at + lanes, p.W);
      AddPairs(
          d, p, x, first, w, end - begin,
          [=](const float* from, int i)
              METALCONV_INLINED { return i == 0 ? low.Load(d, from) : high.Load(d, from + lanes); },
          sum, before);
    }
    float* y = p.y + row * p.columns + column;
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i, y += p.columns) {
      const auto all = hn::Add(InOrder<2, 0>(d, sum[i]), InOrder<2, 1>(d, before[i]));
      hn::StoreU(Activate(d, all, p.clamp), d, y);
    }
  }
}

template <int kCount, int kR, int kStride>
HWY_INLINE void RowsOf(const Rows& rows, int64_t row, int64_t begin, int64_t end) {
  if constexpr (kR == 3 && kStride == 2)
    PairsTile<kCount>(rows, row, begin, end);
  else
    RowsTile<kCount, kR, kStride>(rows, row, begin, end);
}

/// Those at the borders, where rows of taps are missing, one by one.
template <int kR, int kStride>
void AllRows(const Rows& rows) {
  const auto alone = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Inside taps(rows.top + row * kStride, 1, kR, rows.H);
      RowsOf<1, kR, kStride>(rows, row, taps.begin, taps.end);
    }
  };
  const Inside whole(rows.top, kStride, rows.rows, rows.H - kR + 1);
  alone(0, whole.begin);
  InTiles<kRows>(whole.size(), [&](auto count, int64_t row) {
    RowsOf<decltype(count)::value, kR, kStride>(rows, whole.begin + row, 0, kR);
  });
  alone(whole.end, rows.rows);
}

RowsKernel rows_kernel(int64_t R, int64_t stride) {
  if (R == 3 && stride == 1) return AllRows<3, 1>;
  if (R == 3 && stride == 2) return AllRows<3, 2>;
  if (R == 5 && stride == 1) return AllRows<5, 1>;
#if HWY_CAP_GE512  // in 16 registers it takes 0.96 to 1.3 of the time of channels
  if (R == 5 && stride == 2) return AllRows<5, 2>;
#endif
  if (R == 7 && stride == 1) return AllRows<7, 1>;
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
template <int kCount, int kTaps, int kStep, bool kBorder, int kWide, class D>
HWY_INLINE void PixelTile(D d, const Pixels& p, const PixelRow& row, int64_t q, int64_t c) {
  const auto lanes = int64_t(hn::Lanes(d));
  hn::Vec<D> sum[kWide][kCount];
  HWY_UNROLL(4)
  for (int v = 0; v < kWide; ++v) {
    const auto bias = p.bias ? hn::LoadU(d, p.bias + c + v * lanes) : hn::Zero(d);
    HWY_UNROLL(8)
    for (int i = 0; i < kCount; ++i) sum[v][i] = bias;
  }
  const int64_t step = p.x_pixel;
  const float* x_row = row.x + q * step + c;
  const float* w_row = row.w + c;
  if constexpr (kStep > 0) {
    AddShared<kCount, kTaps, kStep, kBorder>(d, p, x_row, w_row, row.taps, p.first - q * kStep,
                                             p.last - q * kStep, sum[0]);
  } else {
    for (int64_t r = 0; r < row.taps; ++r, x_row += p.x_row, w_row += p.w_row) {
      const float* x = x_row;
      const float* w = w_row;
      HWY_UNROLL(1)
      for (int64_t s = 0; s < p.S; ++s, x += p.x_column, w += p.w_column) {
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
  float* y = row.y + q * p.y_pixel + c;
  HWY_UNROLL(8)
  for (int i = 0; i < kCount; ++i, y += p.y_pixel) {
    HWY_UNROLL(4)
    for (int v = 0; v < kWide; ++v) hn::StoreU(Activate(d, sum[v][i], p.clamp), d, y + v * lanes);
  }
}

/// All channels of kCount pixels: the last vector overlaps the one before it where they do not fill
/// it. A function of its own: the compiler spills where all sizes share one.
template <int kCount, int kTaps, int kStep, bool kBorder, class D>
HWY_NOINLINE void PixelTiles(D d, const Pixels& pixels, const float* x, const float* w, float* y,
                             int64_t taps, int64_t q) {
  const Pixels p = pixels;  // what the pointers are written through cannot change it
  const PixelRow row{x, w, y, taps};
  constexpr int kWide = kStep > 0 ? 1 : kWidth<kCount>;
  const auto lanes = int64_t(hn::Lanes(d));
  int64_t c = 0;
  if constexpr (kWide > 1)
    for (; c + kWide * lanes <= p.channels; c += kWide * lanes)
      PixelTile<kCount, kTaps, kStep, kBorder, kWide>(d, p, row, q, c);
  for (; c < p.channels; c += lanes)
    PixelTile<kCount, kTaps, kStep, kBorder, 1>(d, p, row, q, std::min(c, p.channels - lanes));
}

template <int kTaps, int kStep, class D>
HWY_INLINE void AllTiles(D d, const Pixels& p) {
  for (int64_t i = 0; i < p.rows; ++i) {
    const Inside taps(p.top + i * p.stride, p.dilation, p.R, p.H);
    const float* x = p.x + i * p.x_down + taps.begin * p.x_row;
    const float* w = p.w + taps.begin * p.w_row;
    float* y = p.y + i * p.y_down;
    InTiles<kPixels>(p.pixels, [&](auto count, int64_t q) {
      constexpr int kCount = decltype(count)::value;
      constexpr int kShared = kCount > 2;  // two share too little to be worth one vector at a time
      if constexpr (kStep > 0)
        if (q * kStep < p.first || (q + kCount - 1) * kStep + kTaps > p.last)
          return PixelTiles<kCount, kTaps, kStep, true>(d, p, x, w, y, taps.size(), q);
      PixelTiles<kCount, kShared * kTaps, kShared * kStep, false>(d, p, x, w, y, taps.size(), q);
    });
  }
}

template <class D>
HWY_INLINE void AllPixels(D d, const Pixels& p) {
  const int64_t step = p.x_pixel % p.x_column == 0 ? p.x_pixel / p.x_column : 0;
  if (!shares(p.S, step)) return AllTiles<0, 0>(d, p);
  if (p.S == 3) return step == 1 ? AllTiles<3, 1>(d, p) : AllTiles<3, 2>(d, p);
  step == 1 ? AllTiles<5, 1>(d, p) : AllTiles<5, 2>(d, p);
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
