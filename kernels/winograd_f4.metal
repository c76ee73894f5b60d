// SPDX-License-Identifier: Apache-2.0
// 3x3 with stride 1, f32: a threadgroup makes 32 channels of TILES tiles of 4 x 4 outputs, a
// simdgroup 4 of the 36 products and half of a fifth. Threadgroup memory has room for one slab, so
// that the next one waits in registers, transformed by some while others multiply.
// Macros: those of winograd.h: SIDE 4; TILE_K 32; TURNS 1 to 4.
#include "winograd.h"

// A simdgroup does its part of a slab unit by unit. Weights are on their way AHEAD units before
// they are needed.
enum {
  UNITS = 9,
  AHEAD = 3,
  STAGERS = DEPTH * TILES,  // threads, each of which transforms a window
};

// What a thread needs once a slab or at the end waits behind the slab, not in registers: 32 bits in
// each of a few more planes.
enum {
  LONG = sizeof(index) == 8,
  INSIDE = PRODUCTS,       // of the window, the first 32 elements
  MORE,                    // its others, 4 bits; outputs that exist, 7; channels that exist, 6
  TO,                      // offset of the outputs
  FROM = TO + 1 + LONG,    // of the window
  PLANES = FROM + 1 + LONG,
};
static inline threadgroup int& parked(threadgroup float* to, int plane) {
  return *((threadgroup int*)to + plane * PLANE);
}
static inline void park_index(threadgroup float* to, int plane, index value) {
  parked(to, plane) = int(value);
  if (LONG) parked(to, plane + LONG) = int(long(value) >> 32);
}
static inline index parked_index(threadgroup float* to, int plane) {
  const int lower = parked(to, plane);
  return LONG ? index(long(uint(lower)) | long(parked(to, plane + LONG)) << 32) : index(lower);
}

// A simdgroup's share of the 72 units of a slab, nine in a row: those of 4 products, and one of the
// product behind or before these.
struct Share {
  int product;                  // the first of the 4
  int last_product, last_unit;  // from there on
  int half;                     // of that product's channels
};
static inline Share share_of(int simd) {
  const bool odd = (simd & 1) != 0;
  Share share;
  share.product = (9 * simd + 1) >> 1;
  share.last_product = odd ? -1 : 4;
  share.last_unit = odd ? -1 : 8;
  share.half = odd;
  return share;
}

static inline void stage(threadgroup float* to, thread const float (&window)[SPAN][SPAN]) {
#pragma unroll
  for (int i = 0; i < PRODUCTS; ++i) to[i * PLANE] = window[i / SPAN][i % SPAN];
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void winograd_f4(device const elem* x [[buffer(0)]],
                 device const float* packed [[buffer(1)]],  // by winograd_pack
                 device const elem* bias [[buffer(2)]],
                 device out_elem* y [[buffer(3)]],
                 constant ConvParams& p [[buffer(4)]],
                 uint3 group [[threadgroup_position_in_grid]],
                 uint3 groups [[threadgroups_per_grid]],
                 uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float4 staged[PLANES * PLANE / 4];  // a slab is 8 channels of sums, too
  threadgroup int channels[2];  // the first, of inputs that are left and of outputs
  const int t = int(thread_index), simd = int(thread_index / 32u);
  const Work work = work_of(group_number(group, groups), p);
  if (work.g >= p.groups) return;  // the grid may hold more threadgroups than there are tiles
  // Neighbouring lanes take neighbours in memory: tiles in NCHW, channels in NHWC.
  const int tile = NHWC ? t / DEPTH : t % TILES, channel = NHWC ? t % DEPTH : t / TILES;
  const bool stages = STAGERS == THREADS || t < STAGERS;
  threadgroup float* to = (threadgroup float*)staged + (channel * ROW + tile);
  const Place place = place_of(work.tile + tile, p);
  Window window = window_at(place, work.g, work.first * DEPTH + channel, p);
  if (stages) {
    const int K = p.K / p.groups, k = work.block * TILE_K + channel;
    Outputs outputs = outputs_at(place, p);
#if SPLIT
    outputs.to += index(work.part) * y_image(p, p.N);
#endif
    const int exist = outputs.exists == 0 ? 0 : max(0, min(K - k, int(TILE_K)));
    parked(to, INSIDE) = int(uint(window.inside));
    parked(to, MORE) = int(uint(window.inside >> 32) | outputs.exists << 4) | exist << 11;
    parked(to, MORE) |= channel << 17;
    park_index(to, TO, outputs.to);
    park_index(to, FROM, window.from);
    if (t == 0) {
      channels[0] = window.rest;
      channels[1] = work.g * K + k;
    }
  }

  simdgroup_float8x8 sums[UNITS][RIGHTS][2], weights[AHEAD][2], inputs[RIGHTS];
#pragma unroll
  for (int i = 0; i < UNITS * RIGHTS * 2; ++i) {
    sums[i / 2 / RIGHTS][i / 2 % RIGHTS][i % 2] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  const Share share = share_of(simd);
  device const float* from = weights_of(packed, work, share.product, p);
  threadgroup const float* read = (threadgroup const float*)staged + share.product * PLANE;
#pragma unroll
  for (int u = 0; u < AHEAD; ++u) load_left_packed(weights[u], from + u * UNIT);
  float next[SPAN][SPAN];
  if (stages) {
    fetch(next, x, window, p);
    transform(next);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  // Simdgroups transform the next slab in turns, so that some of them always multiply.
  const int turn = UNITS - 1 - 2 * int(uint((simd >> 2) + simd) % uint(TURNS));
  const int slabs = work.last - work.first;
  for (int i = 1; i <= slabs; ++i) {
    if (stages) {
      stage(to, next);
      const int more = parked(to, MORE);
      window.inside = window_mask(uint(parked(to, INSIDE))) | window_mask(uint(more)) << 32;
      window.rest = channels[0] - (more >> 17) - i * DEPTH;
      window.from = parked_index(to, FROM) + i * x_channel(p, DEPTH);
      fetch(next, x, window, p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int u = 0; u < UNITS; ++u) {
      if (u % 2 == 0)
        fetch_inputs(inputs, read + (u < 8 ? u / 2 : share.last_product) * PLANE);
      if (u >= UNITS - 2 * TURNS && u % 2 == 0 && u == turn && stages) transform(next);
      multiply(sums[u], weights[u % AHEAD], inputs);
      const int coming = (u + AHEAD) % UNITS;
      if (coming == 0 && i < slabs) from += PRODUCTS * WEIGHTS;
      load_left_packed(weights[u % AHEAD],
                       from + (coming < UNITS - 1 ? coming : share.last_unit) * UNIT);
      simdgroup_barrier(mem_flags::mem_none);  // weights are not to be fetched any later
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  // Made again, since no register is left for it in the loop.
  const Share sums_of = share_of(simd_broadcast_first(t) / 32);
  threadgroup float* to_sums = (threadgroup float*)staged + sums_of.product * PLANE;
#pragma unroll 1
  for (int pass = 0; pass < TILE_K / 8; ++pass) {
#pragma unroll
    for (int e = 0; e < TILE_K / 8; ++e) {
      if (e != pass) continue;
#pragma unroll
      for (int j = 0; j < RIGHTS; ++j) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          store_sums(sums[2 * i + e / 2][j][e % 2], to_sums + (i * PLANE + 8 * j), ROW);
        if (sums_of.half == e / 2)
          store_sums(sums[UNITS - 1][j][e % 2], to_sums + (sums_of.last_product * PLANE + 8 * j),
                     ROW);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const int more = stages ? parked(to, MORE) : 0;
    if (8 * pass < (more >> 11 & 63)) {
      Outputs outputs;
      outputs.exists = uint(more >> 4);
      outputs.to = parked_index(to, TO);
      const int k = channels[1] + (more >> 17) + 8 * pass;
      float v[SIDE][SIDE];
      transform_sums(to, PLANE, v);
      store_tile(y, v, k, bias_of(bias, p, k), outputs, p);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
