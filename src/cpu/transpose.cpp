// SPDX-License-Identifier: Apache-2.0
#include "cpu/transpose.h"

#include "cpu/isa.h"  // before Highway

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/transpose.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#ifndef METALCONV_CPU_TRANSPOSER  // once, not once a target
#define METALCONV_CPU_TRANSPOSER
namespace metalconv::cpu {
struct Transposer {
  std::int64_t target;
  Transpose run;
};
}  // namespace metalconv::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::transpose {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using std::int64_t;

/// A matrix and where it goes.
struct Turn {
  const float* from;
  int64_t from_step;
  float* to;
  int64_t to_step;
};

HWY_INLINE void OneByOne(const Turn& t, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t r = 0; r < rows; ++r) t.to[i * t.to_step + r] = t.from[r * t.from_step + i];
}

#if HWY_TARGET == HWY_SCALAR

void All(const Turn& t, int64_t rows, int64_t columns) { OneByOne(t, rows, columns); }

#else

constexpr int kQuad = 4;  // a block of 128 bits

/// Four floats of every fourth row: block b from row 4 * b.
template <class D>
HWY_INLINE hn::Vec<D> Quads(D d, const float* from, int64_t row) {
  if constexpr (hn::MaxLanes(D()) == kQuad) {
    return hn::LoadU(d, from);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, Quads(half, from + row * int64_t(hn::Lanes(half)), row),
                       Quads(half, from, row));
  }
}

/// Lanes(d) rows of four floats each. Blocks are turned by themselves: with block b of the four
/// vectors from rows 4 * b to 4 * b + 3, whole vectors come out.
template <class D>
HWY_INLINE void Tile(D d, const Turn& t, int64_t r, int64_t i) {
  const hn::RepartitionToWide<D> pairs;
  const auto pair = [=](auto v) { return hn::BitCast(pairs, v); };
  const float* from = t.from + r * t.from_step + i;
  const auto a = Quads(d, from, t.from_step);
  const auto b = Quads(d, from + t.from_step, t.from_step);
  const auto c = Quads(d, from + 2 * t.from_step, t.from_step);
  const auto e = Quads(d, from + 3 * t.from_step, t.from_step);
  const auto ab_low = pair(hn::InterleaveLower(d, a, b)), ab = pair(hn::InterleaveUpper(d, a, b));
  const auto ce_low = pair(hn::InterleaveLower(d, c, e)), ce = pair(hn::InterleaveUpper(d, c, e));
  float* to = t.to + i * t.to_step + r;
  const auto store = [=](auto v, int64_t k) {
    hn::StoreU(hn::BitCast(d, v), d, to + k * t.to_step);
  };
  store(hn::InterleaveLower(pairs, ab_low, ce_low), 0);
  store(hn::InterleaveUpper(pairs, ab_low, ce_low), 1);
  store(hn::InterleaveLower(pairs, ab, ce), 2);
  store(hn::InterleaveUpper(pairs, ab, ce), 3);
}

/// The last tile of each direction overlaps the one before it. Rows that are further apart are
/// walked along: they are planes in memory, the others pixels in a cache.
template <class D>
HWY_INLINE void InTiles(D d, const Turn& turn, int64_t rows, int64_t columns) {
  const Turn t = turn;  // what is stored cannot change it
  const auto lanes = int64_t(hn::Lanes(d));
  const auto tile = [=](int64_t r, int64_t i) {
    Tile(d, t, std::min(r, rows - lanes), std::min<int64_t>(i, columns - kQuad));
  };
  if (t.from_step > t.to_step) {
    for (int64_t r = 0; r < rows; r += lanes)
      for (int64_t i = 0; i < columns; i += kQuad) tile(r, i);
  } else {
    for (int64_t i = 0; i < columns; i += kQuad)
      for (int64_t r = 0; r < rows; r += lanes) tile(r, i);
  }
}

void All(const Turn& t, int64_t rows, int64_t columns) {
  const hn::ScalableTag<float> full;
  const hn::CappedTag<float, 8> eight;
  const hn::CappedTag<float, kQuad> four;
  if (columns < kQuad || rows < kQuad) return OneByOne(t, rows, columns);
  if (rows >= int64_t(hn::Lanes(full))) return InTiles(full, t, rows, columns);
  if (rows >= int64_t(hn::Lanes(eight))) return InTiles(eight, t, rows, columns);
  InTiles(four, t, rows, columns);
}

#endif

void Run(const float* from, int64_t from_step, int64_t rows, int64_t columns, float* to,
         int64_t to_step) {
  All({from, from_step, to, to_step}, rows, columns);
}

const Transposer* transposer() {
  static const Transposer table{HWY_TARGET, Run};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::transpose
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu {

namespace transpose {
HWY_EXPORT(transposer);
}

Transpose transpose_of(std::string_view isa) {
  using namespace transpose;
  return kernels_for(isa, HWY_DISPATCH_TABLE(transposer)).run;
}

void Turn::to_pixels(const void* planes, std::int64_t plane, std::int64_t channels,
                     std::int64_t step, std::int64_t columns, float* room, float* pixels,
                     std::int64_t pixel) const {
  if (straight(step))
    return transpose_(static_cast<const float*>(planes), plane, channels, columns, pixels, pixel);
  for (std::int64_t c = 0; c < channels; c += kPlanes) {
    const std::int64_t some = std::min(kPlanes, channels - c);
    for (std::int64_t i = 0; i < some; ++i)
      convert_.every(step, convert_.at(planes, (c + i) * plane), room + i * columns, columns);
    transpose_(room, columns, some, columns, pixels + c, pixel);
  }
}

void Turn::to_planes(const float* pixels, std::int64_t pixel, std::int64_t channels,
                     std::int64_t step, std::int64_t columns, float* room, void* planes,
                     std::int64_t plane) const {
  if (straight(step))
    return transpose_(pixels, pixel, columns, channels, static_cast<float*>(planes), plane);
  for (std::int64_t c = 0; c < channels; c += kPlanes) {
    const std::int64_t some = std::min(kPlanes, channels - c);
    transpose_(pixels + c, pixel, columns, some, room, columns);
    for (std::int64_t i = 0; i < some; ++i)
      every_from_f32(convert_, room + i * columns, columns, convert_.at(planes, (c + i) * plane),
                     step);
  }
}

}  // namespace metalconv::cpu
#endif
