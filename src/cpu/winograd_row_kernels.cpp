// SPDX-License-Identifier: Apache-2.0
#include "cpu/winograd_row_kernels.h"

#include "cpu/isa.h"  // before Highway

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/winograd_row_kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "cpu/tile-inl.h"  // after Highway

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::winograd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
const WinogradKernels* kernels() {
  static const WinogradKernels table{HWY_TARGET, 0, 0, 0, {}, nullptr};
  return &table;
}
#else

using namespace tile::HWY_NAMESPACE;

// Two sums a channel and vector of pairs.
constexpr int kVectors = kSums == 8 ? 2 : 3;
constexpr int kChannels = kSums / (2 * kVectors);

/// Every second float of 2 kLanes, in the order that InterleaveLower and InterleaveUpper undo:
/// whole vectors would need shuffles across 128-bit blocks for each output, this none.
HWY_INLINE void Split(const float* from, V& even, V& odd) {
  const D d;
  const V a = hn::LoadU(d, from), b = hn::LoadU(d, from + kLanes);
  const V low = hn::InterleaveLower(d, a, b), high = hn::InterleaveUpper(d, a, b);
  even = hn::InterleaveLower(d, low, high);
  odd = hn::InterleaveUpper(d, low, high);
}

void Transform(const float* from, float* to, int64_t plane, int64_t pairs) {
  const D d;
  for (int64_t t = 0; t < pairs; t += kLanes, from += 2 * kLanes, to += kLanes) {
    V d0, d1, d2, d3;
    Split(from, d0, d1);
    Split(from + 2, d2, d3);
    hn::Store(hn::Sub(d0, d2), d, to);
    hn::Store(hn::Add(d1, d2), d, to + plane);
    hn::Store(hn::Sub(d2, d1), d, to + 2 * plane);
    hn::Store(hn::Sub(d3, d1), d, to + 3 * plane);
  }
}

/// Add the products of two planes to a tile each.
template <int kRows, int kColumns>
HWY_INLINE const float* Multiply(const WinogradRun& run, const float* HWY_RESTRICT x0,
                                 const float* HWY_RESTRICT x1, const float* HWY_RESTRICT w,
                                 Tile<kRows, kColumns>& a, Tile<kRows, kColumns>& b) {
  const D d;
  HWY_UNROLL(3)
  for (int64_t t = 0; t < run.tap_count; ++t, w += 2 * kRows) {
    V v[kColumns], u[kColumns];
    METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
      v[j] = hn::Load(d, x0 + run.taps[t] + j * kLanes);
    }
    METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
      const V wi = hn::Set(d, w[i]);
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) a[i][j] = hn::MulAdd(wi, v[j], a[i][j]);
    }
    METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
      u[j] = hn::Load(d, x1 + run.taps[t] + j * kLanes);
    }
    METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
      const V wi = hn::Set(d, w[kRows + i]);
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) b[i][j] = hn::MulAdd(wi, u[j], b[i][j]);
    }
  }
  return w;
}

template <int kRows, int kColumns>
HWY_INLINE void PairTile(const WinogradRun& run, const float* bias, int64_t pair) {
  const D d;
  Tile<kRows, kColumns> a, b;
  METALCONV_UNROLL for (int i = 0; i < kRows; ++i)
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
    a[i][j] = hn::Set(d, bias[i]);
    b[i][j] = hn::Zero(d);
  }
  const float* x = run.x + pair;
  const float* w = Multiply<kRows, kColumns>(run, x + run.plane, x + 2 * run.plane, run.w, a, b);
  METALCONV_UNROLL for (int i = 0; i < kRows; ++i)
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
    const V m1 = a[i][j], m2 = b[i][j];
    a[i][j] = hn::Add(m1, m2);
    b[i][j] = hn::Sub(m1, m2);
  }
  Multiply<kRows, kColumns>(run, x, x + 3 * run.plane, w, a, b);

  // Pairs back to pixels.
  Tile<kRows, 2 * kColumns> y;
  METALCONV_UNROLL for (int i = 0; i < kRows; ++i)
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
    y[i][2 * j] = hn::InterleaveLower(d, a[i][j], b[i][j]);
    y[i][2 * j + 1] = hn::InterleaveUpper(d, a[i][j], b[i][j]);
  }
  Finish<kRows, 2 * kColumns>(y, run.activation, run.stream, run.y + 2 * pair, run.y_step,
                              run.pixels - 2 * pair);
}

template <int kRows, int kColumns>
void PairTiles(const WinogradRun& run, const float* bias, int vectors, int64_t pair) {
  if (vectors == kColumns) return PairTile<kRows, kColumns>(run, bias, pair);
  if constexpr (kColumns > 1) PairTiles<kRows, kColumns - 1>(run, bias, vectors, pair);
}

template <int kRows>
void Row(const WinogradRun& run) {
  float bias[kRows] = {};
  if (run.bias) std::copy_n(run.bias, kRows, bias);
  const int64_t vectors = hwy::DivCeil(run.pixels, int64_t{2} * kLanes);
  int64_t tiles = hwy::DivCeil(vectors, int64_t(kVectors));
  for (int64_t done = 0; done < vectors; --tiles) {
    const int64_t width = hwy::DivCeil(vectors - done, tiles);
    PairTiles<kRows, kVectors>(run, bias, int(width), done * kLanes);
    done += width;
  }
}

const WinogradKernels* kernels() {
  static const WinogradKernels table{HWY_TARGET,
                                     kLanes,
                                     kChannels == 4 ? 3 : 2,
                                     2 * kVectors * kLanes,
                                     {Row<1>, Row<2>, kChannels == 4 ? Row<kChannels> : nullptr},
                                     Transform};
  return &table;
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::winograd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu {

namespace winograd {
HWY_EXPORT(kernels);
}

const WinogradKernels& winograd_row_kernels(std::string_view isa) {
  using namespace winograd;
  return kernels_for(isa, HWY_DISPATCH_TABLE(kernels));
}

}  // namespace metalconv::cpu
#endif
