// SPDX-License-Identifier: Apache-2.0
// What register tiles share: their size, and how they leave the registers. Compiled once a target.
#if defined(METALCONV_CPU_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef METALCONV_CPU_TILE_INL_H
#undef METALCONV_CPU_TILE_INL_H
#else
#define METALCONV_CPU_TILE_INL_H
#endif

#include <hwy/cache_control.h>

#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "metalconv/problem.h"

/// Loops over a tile are unrolled to the end, or the compiler puts the tile into memory.
#undef METALCONV_UNROLL
#define METALCONV_UNROLL HWY_UNROLL(24)

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::tile {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using std::int64_t;

constexpr int kLanes = HWY_LANES(float);
// 32 registers hold 24 sums beside the operands, 16 hold 12, or 8 where a product needs its own.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;
constexpr int kSums = kManyRegisters ? 24 : HWY_NATIVE_FMA ? 12 : 8;
// Masked stores that leave the other lanes' memory alone.
constexpr bool kMaskedStore = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;

template <int kRows, int kColumns>
using Tile = V[kRows][kColumns];

/// How whole vectors leave.
struct Cached {
  HWY_INLINE void operator()(V v, float* y) const { hn::StoreU(v, D(), y); }
};
struct Streamed {
  HWY_INLINE void operator()(V v, float* y) const { hn::Stream(v, D(), y); }
};

/// The first n < kLanes lanes; what follows in memory may be another thread's.
HWY_INLINE void StorePart(V v, float* y, int64_t n) {
  const D d;
  if constexpr (kMaskedStore) {
    hn::BlendedStore(v, hn::FirstN(d, std::size_t(n)), d, y);
  } else {
    HWY_ALIGN float lanes[kLanes];
    hn::Store(v, d, lanes);
    std::memcpy(y, lanes, std::size_t(n) * sizeof(float));
  }
}

/// NaN passes, as in the definition: only what compares below 0 becomes 0.
template <int kRows, int kColumns>
HWY_INLINE void Activate(Tile<kRows, kColumns>& tile, Activation activation) {
  const D d;
  if (activation == Activation::none) return;
  const V zero = hn::Zero(d);
  METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
      tile[i][j] = hn::IfThenZeroElse(hn::Lt(tile[i][j], zero), tile[i][j]);
    }
  }
  if (activation != Activation::relu6) return;
  const V six = hn::Set(d, 6.0f);
  METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
    METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
      tile[i][j] = hn::IfThenElse(hn::Gt(tile[i][j], six), six, tile[i][j]);
    }
  }
}

/// Rows of a tile `step` floats apart, the first `n` floats of each.
template <int kRows, int kColumns, class Whole>
HWY_INLINE void StoreTile(const Tile<kRows, kColumns>& tile, float* y, int64_t step, int64_t n,
                          Whole whole) {
  // Row by row, so that stores past the cache complete one line before the next begins.
  if (HWY_LIKELY(n >= kColumns * kLanes)) {
    METALCONV_UNROLL for (int i = 0; i < kRows; ++i)
        METALCONV_UNROLL for (int j = 0; j < kColumns; ++j)
            whole(tile[i][j], y + i * step + j * kLanes);
    return;
  }
  // Rows without a gap between them: what one writes too much the next ones write again.
  if (step == n) {
    METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
      METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
        const int64_t left = n - j * kLanes, at = i * n + j * kLanes;
        if (left >= kLanes) {
          whole(tile[i][j], y + at);
        } else if (left > 0 && at + kLanes <= kRows * n) {
          hn::StoreU(tile[i][j], D(), y + at);
        } else if (left > 0) {
          StorePart(tile[i][j], y + at, left);
        }
      }
    }
    return;
  }
  METALCONV_UNROLL for (int j = 0; j < kColumns; ++j) {
    const int64_t left = n - j * kLanes;
    float* to = y + j * kLanes;
    if (HWY_LIKELY(left >= kLanes)) {
      METALCONV_UNROLL for (int i = 0; i < kRows; ++i) { whole(tile[i][j], to + i * step); }
    } else if (left > 0) {
      METALCONV_UNROLL for (int i = 0; i < kRows; ++i) {
        StorePart(tile[i][j], to + i * step, left);
      }
    }
  }
}

template <int kRows, int kColumns>
HWY_INLINE void Finish(Tile<kRows, kColumns>& tile, Activation activation, bool stream, float* y,
                       int64_t step, int64_t n) {
  Activate<kRows, kColumns>(tile, activation);
  if (stream) {
    StoreTile<kRows, kColumns>(tile, y, step, n, Streamed());
  } else {
    StoreTile<kRows, kColumns>(tile, y, step, n, Cached());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::tile
HWY_AFTER_NAMESPACE();

#endif  // METALCONV_CPU_TILE_INL_H
