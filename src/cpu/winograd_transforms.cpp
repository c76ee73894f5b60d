// SPDX-License-Identifier: Apache-2.0
#include "cpu/winograd_transforms.h"

#include "cpu/isa.h"  // before Highway

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/winograd_transforms.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "cpu/tile-inl.h"  // after Highway

HWY_BEFORE_NAMESPACE();
namespace metalconv::cpu::winograd_tiles {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
const Kernels* kernels() {
  static const Kernels table{HWY_TARGET, 1, false, {}, {}};
  return &table;
}
#else

using namespace tile::HWY_NAMESPACE;

/// M inputs more than outputs: what M outputs of three taps read.
template <int M>
constexpr int kSpan = M + 2;

HWY_INLINE V Scale(float factor, V v) { return hn::Mul(hn::Set(D(), factor), v); }
HWY_INLINE V Scaled(float factor, V v, V plus) { return hn::MulAdd(hn::Set(D(), factor), v, plus); }

/// One dimension of the input transform, in place. All factors are small integers.
HWY_INLINE void In(V (&d)[6]) {
  const V even = Scaled(-4, d[2], d[4]), odd = Scaled(-4, d[1], d[3]);
  const V outer = hn::Sub(d[4], d[2]), inner = Scale(2, hn::Sub(d[3], d[1]));
  d[0] = Scaled(4, d[0], Scaled(-5, d[2], d[4]));
  d[5] = Scaled(4, d[1], Scaled(-5, d[3], d[5]));
  d[1] = hn::Add(even, odd);
  d[2] = hn::Sub(even, odd);
  d[3] = hn::Add(outer, inner);
  d[4] = hn::Sub(outer, inner);
}
HWY_INLINE void In(V (&d)[4]) {
  const V sum = hn::Add(d[1], d[2]), difference = hn::Sub(d[2], d[1]);
  d[0] = hn::Sub(d[0], d[2]);
  d[3] = hn::Sub(d[1], d[3]);
  d[1] = sum;
  d[2] = difference;
}

/// One dimension of the output transform.
HWY_INLINE void Out(const V (&m)[6], V (&y)[4]) {
  const V a = hn::Add(m[1], m[2]), b = hn::Sub(m[1], m[2]);
  const V c = hn::Add(m[3], m[4]), e = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(hn::Add(m[0], a), c);
  y[1] = Scaled(2, e, b);
  y[2] = Scaled(4, c, a);
  y[3] = hn::Add(Scaled(8, e, b), m[5]);
}
HWY_INLINE void Out(const V (&m)[4], V (&y)[2]) {
  y[0] = hn::Add(hn::Add(m[0], m[1]), m[2]);
  y[1] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
}

/// Columns t M + j of neighbouring tiles t, for j < M + 2.
HWY_INLINE void LoadColumns(const float* line, V (&v)[6]) {
  const D d;
  V unused0, unused1;
  hn::LoadInterleaved4(d, line, v[0], v[1], v[2], v[3]);
  hn::LoadInterleaved4(d, line + 4, v[4], v[5], unused0, unused1);
}
HWY_INLINE void LoadColumns(const float* line, V (&v)[4]) {
  const D d;
  hn::LoadInterleaved2(d, line, v[0], v[1]);
  hn::LoadInterleaved2(d, line + 2, v[2], v[3]);
}
HWY_INLINE void StoreColumns(const V (&v)[4], float* line) {
  hn::StoreInterleaved4(v[0], v[1], v[2], v[3], D(), line);
}
HWY_INLINE void StoreColumns(const V (&v)[2], float* line) {
  hn::StoreInterleaved2(v[0], v[1], D(), line);
}

using Wide = hn::RepartitionToWide<D>;
HWY_INLINE V LowerPairs(V a, V b) {
  const Wide w;
  return hn::BitCast(D(), hn::InterleaveLower(w, hn::BitCast(w, a), hn::BitCast(w, b)));
}
HWY_INLINE V UpperPairs(V a, V b) {
  const Wide w;
  return hn::BitCast(D(), hn::InterleaveUpper(w, hn::BitCast(w, a), hn::BitCast(w, b)));
}

/// Columns M t + j for j < M, of the tiles t of M pieces. M is 4: a transposition within 128 bits.
HWY_INLINE void FromPieces(const V (&p)[4], V (&v)[4]) {
  const D d;
  const V low = hn::InterleaveLower(d, p[0], p[1]), low2 = hn::InterleaveLower(d, p[2], p[3]);
  const V high = hn::InterleaveUpper(d, p[0], p[1]), high2 = hn::InterleaveUpper(d, p[2], p[3]);
  v[0] = LowerPairs(low, low2);
  v[1] = UpperPairs(low, low2);
  v[2] = LowerPairs(high, high2);
  v[3] = UpperPairs(high, high2);
}
HWY_INLINE void FromPieces(const V (&p)[2], V (&v)[2]) {
  const D d;
  const V low = hn::InterleaveLower(d, p[0], p[1]), high = hn::InterleaveUpper(d, p[0], p[1]);
  v[0] = LowerPairs(low, high);
  v[1] = UpperPairs(low, high);
}
/// And back.
HWY_INLINE void ToPieces(const V (&v)[4], V (&p)[4]) { FromPieces(v, p); }
HWY_INLINE void ToPieces(const V (&v)[2], V (&p)[2]) { FromPieces(v, p); }

/// Columns M t + j of pieces, for j < M + 2: the last two are the next tile's first.
template <int M>
HWY_INLINE void LoadPieces(const float* line, const int64_t* pieces, V (&v)[kSpan<M>]) {
  const D d;
  V p[M], columns[M];
  METALCONV_UNROLL for (int i = 0; i < M; ++i) p[i] = hn::LoadU(d, line + pieces[i]);
  FromPieces(p, columns);
  METALCONV_UNROLL for (int i = 0; i < M; ++i) v[i] = columns[i];
  METALCONV_UNROLL for (int i = 0; i < M; ++i) p[i] = hn::LoadU(d, line + pieces[i] + M);
  FromPieces(p, columns);
  v[M] = columns[0], v[M + 1] = columns[1];
}
template <int M>
HWY_INLINE void StorePieces(const V (&v)[M], float* line, const int64_t* pieces) {
  V p[M];
  ToPieces(v, p);
  METALCONV_UNROLL for (int i = 0; i < M; ++i) hn::StoreU(p[i], D(), line + pieces[i]);
}

// Masked reads that leave the other lanes' memory alone.
constexpr bool kParts = !HWY_MEM_OPS_MIGHT_FAULT;

/// Down the rows first, where neighbours are vectors as they lie.
template <int M>
void RowsIn(const PixelRows& run) {
  constexpr int kN = kSpan<M>;
  const D d;
  for (int64_t q = 0; q < run.columns; q += kLanes) {
    V v[kN];
    METALCONV_UNROLL for (int i = 0; i < kN; ++i) hwy::Prefetch(run.rows[i] + q + run.ahead);
    if (!kParts || (run.left <= q && q + kLanes <= run.right)) {
      METALCONV_UNROLL for (int i = 0; i < kN; ++i) v[i] = hn::LoadU(d, run.rows[i] + q);
    } else {
      const auto first = [&](int64_t n) HWY_ATTR {
        return hn::FirstN(d, std::size_t(std::clamp<int64_t>(n - q, 0, kLanes)));
      };
      const auto mask = hn::AndNot(first(run.left), first(run.right));
      METALCONV_UNROLL for (int i = 0; i < kN; ++i) {
        v[i] = hn::MaskedLoad(mask, d, run.rows[i] + q);
      }
    }
    In(v);
    METALCONV_UNROLL for (int i = 0; i < kN; ++i) {
      hn::StoreU(v[i], d, run.lines + i * run.pitch + q);
    }
  }
}

/// Then along them.
template <int M, bool kPieces>
void TilesIn(const PixelRun& run) {
  constexpr int kN = kSpan<M>;
  const D d;
  const int64_t vectors = hwy::DivCeil(run.tiles, int64_t(kLanes));
  for (int64_t t = 0; t < vectors; ++t)
    for (int i = 0; i < kN; ++i) {
      V v[kN];
      const float* line = run.lines + i * run.pitch;
      if constexpr (kPieces)
        LoadPieces<M>(line, run.pieces + t * M, v);
      else
        LoadColumns(line + t * M * kLanes, v);
      In(v);
      float* to = run.planes + i * kN * run.step + t * kLanes;
      METALCONV_UNROLL for (int j = 0; j < kN; ++j) hn::StoreU(v[j], d, to + j * run.step);
    }
}

template <int M>
void PixelsIn(const PixelRun& run) {
  run.pieces ? TilesIn<M, true>(run) : TilesIn<M, false>(run);
}

/// Outputs of a tile from products load(i, j), down the columns first; emit(i, row) for each row.
template <int M, class Load, class Emit>
HWY_INLINE void TileOut(Activation activation, const Load& load, const Emit& emit) {
  constexpr int kN = kSpan<M>;
  V half[M][kN];
  for (int j = 0; j < kN; ++j) {
    V m[kN], y[M];
    METALCONV_UNROLL for (int i = 0; i < kN; ++i) m[i] = load(i, j);
    Out(m, y);
    METALCONV_UNROLL for (int i = 0; i < M; ++i) half[i][j] = y[i];
  }
  for (int i = 0; i < M; ++i) {
    Tile<1, M> y;
    Out(half[i], y[0]);
    Activate<1, M>(y, activation);
    emit(i, y[0]);
  }
}

template <int M, bool kPieces>
void TilesOut(const PixelRun& run) {
  const D d;
  for (int64_t t = 0; t < run.tiles; t += kLanes)
    TileOut<M>(
        run.activation,
        [&](int i, int j)
            HWY_ATTR { return hn::LoadU(d, run.planes + (i * kSpan<M> + j) * run.step + t); },
        [&](int i, const V(&y)[M]) HWY_ATTR {
          float* line = run.lines + i * run.pitch;
          if constexpr (kPieces)
            StorePieces<M>(y, line, run.pieces + t / kLanes * M);
          else
            StoreColumns(y, line + t * M);
        });
}

template <int M>
void PixelsOut(const PixelRun& run) {
  run.pieces ? TilesOut<M, true>(run) : TilesOut<M, false>(run);
}

/// use(c) for vectors that cover the channels; the last may overlap the one before it.
template <class Use>
HWY_INLINE void EachVector(int64_t channels, const Use& use) {
  for (int64_t c = 0; c < channels; c += kLanes) use(std::min(c, channels - kLanes));
}

template <int M>
void ChannelsIn(const ChannelRun& run) {
  constexpr int kN = kSpan<M>;
  const D d;
  EachVector(run.channels, [&](int64_t c) HWY_ATTR {
    V half[kN][kN];
    for (int j = 0; j < kN; ++j) {
      V v[kN];
      METALCONV_UNROLL for (int i = 0; i < kN; ++i) {
        v[i] = hn::LoadU(d, run.lines + i * run.pitch + j * run.pixel + c);
      }
      In(v);
      METALCONV_UNROLL for (int i = 0; i < kN; ++i) half[i][j] = v[i];
    }
    for (int i = 0; i < kN; ++i) {
      In(half[i]);
      METALCONV_UNROLL for (int j = 0; j < kN; ++j) {
        hn::StoreU(half[i][j], d, run.planes + (i * kN + j) * run.step + c);
      }
    }
  });
}

template <int M>
void ChannelsOut(const ChannelRun& run) {
  const D d;
  EachVector(run.channels, [&](int64_t c) HWY_ATTR {
    TileOut<M>(
        run.activation,
        [&](int i, int j)
            HWY_ATTR { return hn::LoadU(d, run.planes + (i * kSpan<M> + j) * run.step + c); },
        [&](int i, const V(&y)[M]) HWY_ATTR {
          METALCONV_UNROLL for (int j = 0; j < M; ++j) {
            hn::StoreU(y[j], d, run.y + i * run.pitch + j * run.pixel + c);
          }
        });
  });
}

template <int M>
constexpr Transforms kTransforms{RowsIn<M>, PixelsIn<M>, ChannelsIn<M>, PixelsOut<M>,
                                 ChannelsOut<M>};

const Kernels* kernels() {
  static const Kernels table{HWY_TARGET, kLanes, kParts, kTransforms<2>, kTransforms<4>};
  return &table;
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace metalconv::cpu::winograd_tiles
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace metalconv::cpu::winograd_tiles {

HWY_EXPORT(kernels);

const Kernels& kernels_of(std::string_view isa) {
  return kernels_for(isa, HWY_DISPATCH_TABLE(kernels));
}

void transform_taps(int m, const double* taps, std::int64_t step, double* factors,
                    std::int64_t factor_step) {
  const double g0 = taps[0], g1 = taps[step], g2 = taps[2 * step];
  const auto put = [&](int i, double value) { factors[i * factor_step] = value; };
  if (m == 2) {
    put(0, g0);
    put(1, (g0 + g1 + g2) / 2);
    put(2, (g0 - g1 + g2) / 2);
    put(3, g2);
    return;
  }
  put(0, g0 / 4);
  put(1, -(g0 + g1 + g2) / 6);
  put(2, -(g0 - g1 + g2) / 6);
  put(3, (g0 + 2 * g1 + 4 * g2) / 24);
  put(4, (g0 - 2 * g1 + 4 * g2) / 24);
  put(5, g2);
}

}  // namespace metalconv::cpu::winograd_tiles
#endif
