// SPDX-License-Identifier: Apache-2.0
#include "cpu/direct_kernels.h"

#include "cpu/isa.h"  // before Highway

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/direct_kernels.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "cpu/tile-inl.h"  // after Highway

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::direct {
namespace HWY_NAMESPACE {
using namespace tile::HWY_NAMESPACE;

// Loads of a tap must not outnumber its multiply-adds.
constexpr int kChannels = kManyRegisters ? 8 : 4, kChannelVectors = kManyRegisters ? 4 : 2;
// Non-temporal stores want whole cache lines a plane: on AVX2 6 x 2 vectors are twice as fast as
// 4 x 3 where the output is beyond the cache (Zen 3, 3 -> 64 channels).
constexpr int kWidest = kSums == 12 ? 6 : kChannels;

/// kChannels x kVectors vectors of pixels from pixel q on. Each output's sum runs through the taps
/// in their order, whatever the tile: all tiles give the same bits.
template <int kChannels, int kVectors>
HWY_INLINE void NchwTile(const RowRun& run, const float* bias, int64_t q) {
  const D d;
  Tile<kChannels, kVectors> sum;
  METALCONV_UNROLL for (int i = 0; i < kChannels; ++i)
      METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::Set(d, bias[i]);

  const float* HWY_RESTRICT w = run.w;
  HWY_UNROLL(3)
  for (int64_t t = 0; t < run.tap_count; ++t, w += kChannels) {
    const float* HWY_RESTRICT x = run.x + q + run.taps[t];
    V v[kVectors];
    METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) v[j] = hn::LoadU(d, x + j * kLanes);
    METALCONV_UNROLL for (int i = 0; i < kChannels; ++i) {
      const V wi = hn::Set(d, w[i]);
      METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) sum[i][j] =
          hn::MulAdd(wi, v[j], sum[i][j]);
    }
  }
  Finish<kChannels, kVectors>(sum, run.activation, run.stream, run.y + q, run.y_step,
                              run.pixels - q);
}

template <int kChannels, int kVectors>
void NchwTiles(const RowRun& run, const float* bias, int vectors, int64_t q) {
  if (vectors == kVectors) return NchwTile<kChannels, kVectors>(run, bias, q);
  if constexpr (kVectors > 1) NchwTiles<kChannels, kVectors - 1>(run, bias, vectors, q);
}

/// A row in tiles of nearly equal width: the last is never a lone vector where that can be helped.
template <int kChannels>
void NchwRow(const RowRun& run) {
  constexpr int kVectors = std::min(kSums / kChannels, 6);
  float bias[kChannels] = {};
  if (run.bias) std::copy_n(run.bias, kChannels, bias);
  const int64_t vectors = hwy::DivCeil(run.pixels, int64_t(kLanes));
  int64_t tiles = hwy::DivCeil(vectors, int64_t(kVectors));
  for (int64_t done = 0; done < vectors; --tiles) {
    const int64_t width = hwy::DivCeil(vectors - done, tiles);
    NchwTiles<kChannels, kVectors>(run, bias, int(width), done * kLanes);
    done += width;
  }
}

/// kPixels pixels from pixel q on, kVectors vectors of channels each.
template <int kVectors, int kPixels>
HWY_INLINE void NhwcTile(const RowRun& run, const float* bias, int64_t q) {
  const D d;
  Tile<kPixels, kVectors> sum;
  METALCONV_UNROLL for (int i = 0; i < kPixels; ++i)
      METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) sum[i][j] =
          hn::Load(d, bias + j * kLanes);

  const float* HWY_RESTRICT w = run.w;
  const float* HWY_RESTRICT x0 = run.x + q * run.x_step;
  const int64_t step = run.x_step;
  HWY_UNROLL(3)
  for (int64_t t = 0; t < run.tap_count; ++t, w += kVectors * kLanes) {
    const float* HWY_RESTRICT x = x0 + run.taps[t];
    V v[kVectors];
    METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) v[j] = hn::Load(d, w + j * kLanes);
    METALCONV_UNROLL for (int i = 0; i < kPixels; ++i) {
      const V xi = hn::Set(d, x[i * step]);
      METALCONV_UNROLL for (int j = 0; j < kVectors; ++j) sum[i][j] =
          hn::MulAdd(v[j], xi, sum[i][j]);
    }
  }
  Finish<kPixels, kVectors>(sum, run.activation, run.stream, run.y + q * run.y_step, run.y_step,
                            run.channels);
}

template <int kVectors, int kPixels>
void NhwcTiles(const RowRun& run, const float* bias, int pixels, int64_t q) {
  if (pixels == kPixels) return NhwcTile<kVectors, kPixels>(run, bias, q);
  if constexpr (kPixels > 1) NhwcTiles<kVectors, kPixels - 1>(run, bias, pixels, q);
}

template <int kVectors>
void NhwcRow(const RowRun& run) {
  constexpr int kPixels = std::min(kSums / kVectors, 14);  // of 1 vector: what loads allow
  HWY_ALIGN float bias[kVectors * kLanes] = {};
  if (run.bias) std::copy_n(run.bias, run.channels, bias);
  int64_t tiles = hwy::DivCeil(run.pixels, int64_t(kPixels));
  for (int64_t q = 0; q < run.pixels; --tiles) {
    const int64_t width = hwy::DivCeil(run.pixels - q, tiles);
    NhwcTiles<kVectors, kPixels>(run, bias, int(width), q);
    q += width;
  }
}

const RowKernels* kernels() {
  static const RowKernels table = [] {
    RowKernels t{HWY_TARGET,
                 kLanes,
                 3,
                 2,
                 {NchwRow<1>, NchwRow<2>, NchwRow<4>, nullptr},
                 {1, 2, 4, 0},
                 {NhwcRow<1>, NhwcRow<2>, nullptr, nullptr},
                 kSums / kChannels * kLanes,
                 kSums / kChannelVectors};
    if constexpr (kWidest > 4) {
      t.nchw_blocks = 4;
      t.nchw[3] = NchwRow<kWidest>;
      t.nchw_channels[3] = kWidest;
      t.nchw_pixels = kSums / kWidest * kLanes;
    }
    if constexpr (kManyRegisters) {
      t.nhwc_blocks = 4;
      t.nhwc[2] = NhwcRow<3>;
      t.nhwc[3] = NhwcRow<4>;
    }
    return t;
  }();
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::direct
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu {

namespace direct {
HWY_EXPORT(kernels);
}

const RowKernels& row_kernels(std::string_view isa) {
  using namespace direct;
  return kernels_for(isa, HWY_DISPATCH_TABLE(kernels));
}

}  // namespace metalconv::cpu
#endif
