// SPDX-License-Identifier: Apache-2.0
// 3x3 with stride 1, f32: a threadgroup makes TILE_K channels of 32 tiles of 2 x 2 outputs, a
// simdgroup 2 of the 16 products.
// Macros: those of winograd.h: SIDE 2; TILES 32; TILE_K 16, 32 or 64; TURNS 1, 2 or 4.
#include "winograd.h"

// A simdgroup does its part of a slab unit by unit. Weights are on their way AHEAD units before
// they are needed.
enum {
  PARTS_K = TILE_K / 16,
  UNITS = 2 * PARTS_K,
  AHEAD = UNITS < 4 ? UNITS : 4,
  STAGINGS = UNITS < TURNS ? UNITS : TURNS,
};

// Transforms the window into its products' inputs.
static inline void stage(threadgroup float* to, thread float (&window)[SPAN][SPAN]) {
  transform_down(window);
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
    transform_input(window[i]);
#pragma unroll
    for (int j = 0; j < SPAN; ++j) to[(i * SPAN + j) * PLANE] = window[i][j];
  }
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void winograd_f2(device const elem* x [[buffer(0)]],
                 device const float* packed [[buffer(1)]],  // by winograd_pack
                 device const elem* bias [[buffer(2)]],
                 device out_elem* y [[buffer(3)]],
                 constant ConvParams& p [[buffer(4)]],
                 uint3 group [[threadgroup_position_in_grid]],
                 uint3 groups [[threadgroups_per_grid]],
                 uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float4 staged[2 * SLAB / 4];  // two slabs hold 16 channels of sums, too
  const int t = int(thread_index), simd = t / 32;
  const Work work = work_of(group_number(group, groups), p);
  if (work.g >= p.groups) return;  // the grid may hold more threadgroups than there are tiles
  // Neighbouring lanes take neighbours in memory: tiles in NCHW, channels in NHWC.
  const int tile = NHWC ? t / DEPTH : t % TILES, channel = NHWC ? t % DEPTH : t / TILES;
  const Place place = place_of(work.tile + tile, p);
  const Outputs outputs = outputs_at(place, p);
  Window window = window_at(place, work.g, work.first * DEPTH + channel, p);
  threadgroup float* to = (threadgroup float*)staged + (channel * ROW + tile);

  simdgroup_float8x8 sums[UNITS][4][2], weights[AHEAD][2], inputs[4];
#pragma unroll
  for (int i = 0; i < 8 * UNITS; ++i) {
    sums[i / 8][i / 2 % 4][i % 2] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  device const float* from = weights_of(packed, work, 2 * simd, p);
#pragma unroll
  for (int u = 0; u < AHEAD; ++u) load_left_packed(weights[u], from + u * UNIT);
  float next[SPAN][SPAN];
  fetch(next, x, window, p);
  stage(to, next);
  fetch(next, x, window, p);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  // Simdgroups stage the next slab in turns, so that some of them always multiply.
  const int turn = (simd / 4 * 2 + simd) % STAGINGS * (UNITS / STAGINGS);
  int now = 0;  // where the slab is in threadgroup memory
  for (int left = work.last - work.first; left > 0; --left) {
    threadgroup const float* read =
        (threadgroup const float*)staged + (now + 2 * simd * PLANE);
    device const float* following = left > 1 ? from + PRODUCTS * WEIGHTS : from;
    now = SLAB - now;
#pragma unroll
    for (int u = 0; u < UNITS; ++u) {
      if (u % PARTS_K == 0) fetch_inputs(inputs, read + u / PARTS_K * PLANE);
      if (u % (UNITS / STAGINGS) == 0 && u == turn) {
        stage(to + now, next);
        fetch(next, x, window, p);
      }
      multiply(sums[u], weights[u % AHEAD], inputs);
      const int coming = u + AHEAD;
      load_left_packed(weights[u % AHEAD], coming < UNITS ? from + coming * UNIT
                                                          : following + (coming - UNITS) * UNIT);
      simdgroup_barrier(mem_flags::mem_none);  // weights are not to be fetched any later
    }
    from = following;
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }

  const int K = p.K / p.groups;
#if SPLIT
  y += index(work.part) * y_image(p, p.N);
#endif
#pragma unroll
  for (int i = 0; i < PARTS_K; ++i) {
    threadgroup float* scratch = (threadgroup float*)staged + 2 * simd * (16 * ROW);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      store_sums(sums[j / 8 * PARTS_K + i][j / 2 % 4][j % 2],
                 scratch + (j / 8 * 16 * ROW + j % 2 * 8 * ROW + j / 2 % 4 * 8), ROW);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int pass = 0; pass < 2; ++pass) {
      const int row = pass * DEPTH + channel, k = work.block * TILE_K + i * 16 + row;
      if (outputs.exists == 0 || k >= K) continue;
      float v[SIDE][SIDE];
      transform_sums((threadgroup const float*)staged + (row * ROW + tile), 16 * ROW, v);
      store_tile(y, v, work.g * K + k, bias_of(bias, p, work.g * K + k), outputs, p);
    }
    if (i + 1 < PARTS_K) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
