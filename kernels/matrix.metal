// SPDX-License-Identifier: Apache-2.0
// Many channels, on matrix units: a simdgroup makes 64 channels x 32 pixels. Slabs are f32 whatever
// the dtype, and sums are f32.
// Macros: those of implicit_gemm.h, PAD 4; TERMS, see fragments.h.
#include "fragments.h"
#include "implicit_gemm.h"

enum {
  SIMDS_Q = TILE_PIXELS / 32,
  SCRATCH_ROW = 36,  // of 32 outputs; a multiple of 4, and no multiple of 8
};

// One output's part of the reduction by f32 multiply-adds: k is of the tile.
static inline float direct_sum(device const elem* x, device const float* weights, int k,
                               index number, Tile tile, constant ConvParams& p) {
  const Pixel pixel = pixel_at(number, tile.g * (p.C / p.groups), p);
  Slab slab = slab_at(tile.first, p);
  float sum = 0.0f;
#pragma unroll 1
  for (int i = tile.first; i < tile.last; ++i) {
#pragma unroll 1
    for (int part = 0; part < PARTS; ++part) {
      float v[RUN];
      fetch_input(v, x, pixel, slab, part * RUN, p);
#pragma unroll
      for (int e = 0; e < RUN; ++e) sum = fma(weights[(part * RUN + e) * TILE_K + k], v[e], sum);
    }
    weights += DEPTH * TILE_K;
    advance(slab, p);
  }
  return sum;
}

[[kernel, max_total_threads_per_threadgroup(TILE_K / 8 * (TILE_PIXELS / 8))]]
void matrix_product(device const elem* x [[buffer(0)]],
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
  const int k0 = simd / SIMDS_Q * 64, q0 = simd % SIMDS_Q * 32;
  simdgroup_float8x8 sums[4][4][2], products[4][4][2];
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    sums[i / 4][i % 4][0] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    sums[i / 4][i % 4][1] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
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
    for (int e = 0; e < 16; ++e) begin_products(products[e / 4][e % 4]);
#pragma unroll
    for (int e = 0; e < DEPTH; e += 8) {
      threadgroup const float* left_from = w + (e * WEIGHT_ROW + k0);
      threadgroup const float* right_from = q + (e * INPUT_ROW + q0);
      simdgroup_float8x8 right[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) load_right(right[j], right_from + 8 * j, INPUT_ROW);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        simdgroup_float8x8 left[2];
        load_left(left, left_from + 16 * k, WEIGHT_ROW);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          multiply_add(sums[k][j], products[k][j], left, right[j], Terms<TERMS>());
        }
      }
    }
#pragma unroll
    for (int e = 0; e < 16; ++e) end_products(sums[e / 4][e % 4], products[e / 4][e % 4]);
  }
#if SPLIT
  y += index(tile.part) * y_image(p, p.N);
#endif
  // Sums pass through threadgroup memory, 16 channels at a time, to where stores want them: each
  // thread takes 4 channels x 4 pixels.
  threadgroup_barrier(mem_flags::mem_threadgroup);
  threadgroup float* scratch = (threadgroup float*)staged + simd * (16 * SCRATCH_ROW);
  const index pixel = tile.pixel + q0 + lane % 8 * 4;
#pragma unroll 1
  for (int pass = 0; pass < 4; ++pass) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i != pass) continue;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        simdgroup_store(sums[i][j / 2][j % 2], scratch + (j % 2 * 8 * SCRATCH_ROW + j / 2 * 8),
                        SCRATCH_ROW);
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    const int row = lane / 8 * 4, in_tile = k0 + 16 * pass + row;
    const int k = tile.block * TILE_K + in_tile;
    float block[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float4 v =
          *(threadgroup const float4*)(scratch + ((row + i) * SCRATCH_ROW + lane % 8 * 4));
      block[i][0] = v.x;
      block[i][1] = v.y;
      block[i][2] = v.z;
      block[i][3] = v.w;
#if TERMS == 3
      // Infinities have no upper and lower part, nor have factors that round up to one: such sums
      // are never finite, and are made anew.
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (!isfinite(block[i][j]))
          block[i][j] = direct_sum(x, (device const float*)weights_of(packed, tile, p),
                                   in_tile + i, pixel + j, tile, p);
      }
#endif
      const float b = k + i < K ? bias_of(bias, p, tile.g * K + k + i) : 0.0f;
#pragma unroll
      for (int j = 0; j < 4; ++j) block[i][j] = activate(block[i][j] + b);
    }
    store_block(y, block, tile.g * K + k, K - k, pixel, p);
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}
