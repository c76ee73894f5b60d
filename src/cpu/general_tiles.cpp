// SPDX-License-Identifier: Apache-2.0
// Register tiles: a tile of outputs stays in registers for its whole sum, so that every operand
// that is loaded serves many multiply-adds, and the order of a sum never depends on the tile.
#include "cpu/general.h"
#include "cpu/isa.h"  // before Highway

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/general_tiles.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::general {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using std::int64_t;

constexpr int kLanes = HWY_LANES(float);
// 24 sums of 32 registers (AVX-512, NEON), 12 of 16. On Zen 4 AVX2 issues two multiply-adds of half
// the width a cycle; SSE4 has none and pays a multiply and an add.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON;
constexpr int kChannels = kManyRegisters ? 8 : 4, kPixelVectors = 3;
constexpr int kPixels = kManyRegisters ? 12 : 6, kChannelVectors = 2;
constexpr int kWidePixels = kManyRegisters ? 6 : 0, kWideVectors = kManyRegisters ? 4 : 0;
constexpr double kRate = HWY_TARGET <= HWY_AVX3 ? 3.65 : HWY_TARGET == HWY_AVX2 ? 7.3 : 3.4;

/// By comparison, so that NaN stays: Max and Min may drop it.
HWY_INLINE V Activate(V v, const Sum& s) {
  const D d;
  if (!s.clamp) return v;
  const V low = hn::Set(d, s.low), high = hn::Set(d, s.high);
  v = hn::IfThenElse(hn::Lt(v, low), low, v);
  return hn::IfThenElse(hn::Lt(high, v), high, v);
}

template <int kRows, int kVectors>
void ByPixels(const Sum& s, float* y, int64_t pitch) {
  const D d;
  V sum[kRows][kVectors];
  HWY_UNROLL(16)
  for (int k = 0; k < kRows; ++k)
    for (int j = 0; j < kVectors; ++j)
      sum[k][j] = s.add ? hn::LoadU(d, y + k * pitch + j * kLanes) : hn::Set(d, s.bias[k]);
  const float* HWY_RESTRICT w = s.w;
  for (int64_t o = 0; o < s.outer_count; ++o) {
    const float* outer = s.x + s.outer[o];
    HWY_UNROLL(4)
    for (int64_t i = 0; i < s.inner_count; ++i, w += kRows) {
      const float* HWY_RESTRICT x = outer + s.inner[i];
      V in[kVectors];
      for (int j = 0; j < kVectors; ++j) in[j] = hn::LoadU(d, x + j * kLanes);
      for (int k = 0; k < kRows; ++k) {
        const V weight = hn::Set(d, w[k]);
        for (int j = 0; j < kVectors; ++j) sum[k][j] = hn::MulAdd(in[j], weight, sum[k][j]);
      }
    }
  }
  HWY_UNROLL(16)
  for (int k = 0; k < kRows; ++k)
    for (int j = 0; j < kVectors; ++j)
      hn::StoreU(Activate(sum[k][j], s), d, y + k * pitch + j * kLanes);
}

template <int kRows>
void ByPixels(int channels, int vectors, const Sum& s, float* y, int64_t pitch) {
  if constexpr (kRows > 1)
    if (channels < kRows) return ByPixels<kRows - 1>(channels, vectors, s, y, pitch);
  if (vectors == 1) return ByPixels<kRows, 1>(s, y, pitch);
  if (vectors == 2) return ByPixels<kRows, 2>(s, y, pitch);
  return ByPixels<kRows, kPixelVectors>(s, y, pitch);
}

template <int kRows, int kVectors>
void ByChannels(const Sum& s, const int64_t* from, float* y, const int64_t* to, int64_t pitch) {
  const D d;
  V sum[kRows][kVectors];
  const float* x[kRows];
  HWY_UNROLL(16)
  for (int i = 0; i < kRows; ++i) {
    x[i] = s.x + from[i];
    for (int j = 0; j < kVectors; ++j)
      sum[i][j] = hn::LoadU(d, s.add ? y + to[i] * pitch + j * kLanes : s.bias + j * kLanes);
  }
  const float* HWY_RESTRICT w = s.w;
  for (int64_t o = 0; o < s.outer_count; ++o) {
    const int64_t begin = s.outer[o], end = begin + s.inner_count;
    HWY_UNROLL(4)
    for (int64_t at = begin; at < end; ++at, w += kVectors * kLanes) {
      V weight[kVectors];
      for (int j = 0; j < kVectors; ++j) weight[j] = hn::LoadU(d, w + j * kLanes);
      for (int i = 0; i < kRows; ++i) {
        const V in = hn::Set(d, x[i][at]);
        for (int j = 0; j < kVectors; ++j) sum[i][j] = hn::MulAdd(in, weight[j], sum[i][j]);
      }
    }
  }
  HWY_UNROLL(16)
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j)
      hn::StoreU(Activate(sum[i][j], s), d, y + to[i] * pitch + j * kLanes);
}

template <int kRows>
void ByChannels(int pixels, int vectors, const Sum& s, const int64_t* from, float* y,
                const int64_t* to, int64_t pitch) {
  if constexpr (kRows > 1)
    if (pixels < kRows) return ByChannels<kRows - 1>(pixels, vectors, s, from, y, to, pitch);
  if constexpr (kRows <= kWidePixels) {
    if (vectors == 3) return ByChannels<kRows, 3>(s, from, y, to, pitch);
    if (vectors == 4) return ByChannels<kRows, 4>(s, from, y, to, pitch);
  }
  if (vectors == 1) return ByChannels<kRows, 1>(s, from, y, to, pitch);
  return ByChannels<kRows, kChannelVectors>(s, from, y, to, pitch);
}

const Kernels* kernels() {
  static const Kernels table{
      HWY_TARGET,         kLanes,      kChannels,    kPixelVectors, kPixels,
      kChannelVectors,    kWidePixels, kWideVectors, kRate,         ByPixels<kChannels>,
      ByChannels<kPixels>};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::general
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu::general {

HWY_EXPORT(kernels);

const Kernels& kernels_of(std::string_view isa) {
  return kernels_for(isa, HWY_DISPATCH_TABLE(kernels));
}

}  // namespace metalconv::cpu::general
#endif
