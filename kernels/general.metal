// SPDX-License-Identifier: Apache-2.0
// Any convolution, 8 x 8 outputs a thread. While a slab of the reduction is multiplied, the next
// one is on its way into registers, and goes to the other half of threadgroup memory.
// Macros: those of implicit_gemm.h, PAD 0.
#include "implicit_gemm.h"

enum {
  // A simdgroup's threads as a block, so that its reads of threadgroup memory are few.
  LANES_K = TILE_K < 32 ? TILE_K / 8 : 4,
  LANES_Q = 32 / LANES_K,
};

// sums += a column of weights x a row of pixels. A thread's 8 are two runs of 4, half a tile apart,
// so that neighbours read neighbouring vectors.
static inline void multiply(thread float (&sums)[8][8], threadgroup const float4* weights,
                            threadgroup const float4* pixels) {
  const float4 a = weights[0], b = weights[TILE_K / 8];
  const float4 c = pixels[0], d = pixels[TILE_PIXELS / 8];
  const float k[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
  const float q[8] = {c.x, c.y, c.z, c.w, d.x, d.y, d.z, d.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[i][j] = fma(k[i], q[j], sums[i][j]);
  }
}

[[kernel, max_total_threads_per_threadgroup(TILE_K / 8 * (TILE_PIXELS / 8))]]
void general(device const elem* x [[buffer(0)]],
             device const float* packed [[buffer(1)]],  // blocks of TILE_K channels
             device const elem* bias [[buffer(2)]],
             device out_elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float4 staged[2 * SLAB / 4];
  const int t = int(thread_index);
  const Tile tile = tile_of(group_number(group, groups), p);
  if (tile.g >= p.groups) return;  // the grid may hold more threadgroups than there are tiles
  const int K = p.K / p.groups, C = p.C / p.groups;  // of a convolution group

  Pixel pixels[GATHERS];
#pragma unroll
  for (int i = 0; i < GATHERS; ++i) {
    pixels[i] = pixel_at(tile.pixel + t % TILE_PIXELS + i * THREADS, tile.g * C, p);
  }
  const int lane = t % 32, simd = t / 32;
  const int q0 = lane % LANES_Q + simd % (TILE_PIXELS / 8 / LANES_Q) * LANES_Q;  // in vectors of 4
  const int k0 = lane / LANES_Q + simd / (TILE_PIXELS / 8 / LANES_Q) * LANES_K;
  float sums[8][8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int k = tile.block * TILE_K + k0 * 4 + i / 4 * (TILE_K / 2) + i % 4;
    const float b = k < K ? bias_of(bias, p, tile.g * K + k) : 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[i][j] = b;
  }
  device const float4* from = weights_of(packed, tile, p);
  const int run = t / TILE_PIXELS * RUN;
  Slab slab = slab_at(tile.first, p);
  WeightRun next_weights;
  float next_input[GATHERS][RUN];
  fetch_slab(next_weights, next_input, x, from, pixels, slab, run, t, p);
  for (int i = tile.first; i < tile.last; ++i) {
    threadgroup float* w = (threadgroup float*)staged + (i - tile.first) % 2 * SLAB;
    threadgroup float* q = w + DEPTH * WEIGHT_ROW;
    stage_weights(w, next_weights, t);
    stage_input(q, next_input, t);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (i + 1 < tile.last) {
      from += WEIGHTS;
      advance(slab, p);
      fetch_slab(next_weights, next_input, x, from, pixels, slab, run, t, p);
    }
#pragma unroll
    for (int e = 0; e < DEPTH; ++e) {
      multiply(sums, (threadgroup const float4*)(w + e * WEIGHT_ROW) + k0,
               (threadgroup const float4*)(q + e * INPUT_ROW) + q0);
    }
  }
#if SPLIT
  y += index(tile.part) * y_image(p, p.N);
#endif
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const int k = tile.block * TILE_K + k0 * 4 + i / 4 * (TILE_K / 2);
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      float block[4][4];
#pragma unroll
      for (int e = 0; e < 16; ++e) block[e / 4][e % 4] = activate(sums[i + e / 4][j + e % 4]);
      const index pixel = tile.pixel + q0 * 4 + j / 4 * (TILE_PIXELS / 2);
      store_block(y, block, tile.g * K + k, K - k, pixel, p);
    }
  }
}
