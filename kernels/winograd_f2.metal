// SPDX-License-Identifier: Apache-2.0
// 3x3 with stride 1, f32: a threadgroup makes TILE_K channels of 32 tiles of 2 x 2 outputs. Its
// threads transform the input of one slab of channels after the other into threadgroup memory; each
// of its 8 simdgroups adds up 2 of the 16 products, whose weights nobody else needs, on matrix
// units; the sums meet in threadgroup memory and are transformed back. Nothing else is ever stored
// (after Yan, Wang and Chu, "Optimizing Batched Winograd Convolution on GPUs", 2020, who do the
// same with multiply-adds).
// Macros beside those of conv.h: TILE_K, 16, 32 or 64; SPLIT: 1, a threadgroup sums a part of the
// reduction, and y holds the sums of the parts one after the other; PAD, floats behind each row of a
// slab, which keep banks apart; TERMS, see fragments.h.
#include "fragments.h"
#include "winograd.h"

enum {
  THREADS = 256,
  TILES = 32,
  ROW = TILES + PAD,          // of transformed inputs in threadgroup memory: one channel
  PLANE = DEPTH * ROW,        // one product
  SLAB = PRODUCTS * PLANE,    // two slabs hold 16 channels of sums, too
  WEIGHTS = DEPTH * TILE_K,   // of one product in a slab
  PARTS_K = TILE_K / 16,
};

// A threadgroup's part of the work.
struct Work {
  int g, block;     // which convolution group, and which TILE_K of its channels
  index tile;       // the first
  int first, last;  // slabs of the reduction
  int part;         // of the parts, which
};

static inline int slab_count(constant ConvParams& p) {
  return (p.C / p.groups + DEPTH - 1) / DEPTH;
}
static inline int block_count(constant ConvParams& p) {
  return (p.K / p.groups + TILE_K - 1) / TILE_K;
}

// Threadgroups that share inputs follow each other.
static inline Work work_of(index number, constant ConvParams& p) {
  const int blocks = block_count(p);
  const index tiles = (all_tiles(p) + TILES - 1) / TILES;
  Work work;
  work.block = int(number % blocks);
  work.tile = number / blocks % tiles * TILES;
  number = number / blocks / tiles;
  work.part = 0;
  work.first = 0;
  work.last = slab_count(p);
#if SPLIT
  work.part = int(number % p.splits);
  number = number / p.splits;
  work.first = int(long(slab_count(p)) * work.part / p.splits);
  work.last = int(long(slab_count(p)) * (work.part + 1) / p.splits);
#endif
  work.g = int(number);
  return work;
}

// What a thread reads of the input: 4 x 4 elements of one channel, those that exist.
struct Window {
  index from;   // offset of the first element; may lie outside the image
  int channel;  // of the group
  uint inside;  // a bit for each element
};

static inline Window window_at(Place at, int g, int channel, constant ConvParams& p) {
  const int h = at.row - p.pad_top, w = at.column - p.pad_left;
  Window window;
  window.channel = channel;
  window.inside = 0;
  window.from = 0;
  if (at.n >= p.N) return window;
  window.from = x_image(p, at.n) + x_channel(p, g * (p.C / p.groups) + channel) + h * x_row(p) +
                w * x_column(p);
#pragma unroll
  for (int i = 0; i < SPAN * SPAN; ++i) {
    const int ih = h + i / SPAN * p.dilation_h, iw = w + i % SPAN * p.dilation_w;
    if (uint(ih) < uint(p.H) && uint(iw) < uint(p.W)) window.inside |= 1u << i;
  }
  return window;
}

// Reads the window and goes on to that of the next slab.
static inline void fetch(thread float (&to)[SPAN][SPAN], device const elem* x,
                         thread Window& window, constant ConvParams& p) {
  const uint inside = window.channel < p.C / p.groups ? window.inside : 0u;
  const index row = p.dilation_h * x_row(p), column = p.dilation_w * x_column(p);
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
#pragma unroll
    for (int j = 0; j < SPAN; ++j) {
      const bool exists = (inside & 1u << (i * SPAN + j)) != 0;
      to[i][j] = exists ? float(x[window.from + i * row + j * column]) : 0.0f;
    }
  }
  window.from += x_channel(p, DEPTH);
  window.channel += DEPTH;
}

static inline void stage(threadgroup float* to, thread float (&window)[SPAN][SPAN]) {
  transform_input(window);
#pragma unroll
  for (int e = 0; e < PRODUCTS; ++e) to[e * PLANE] = window[e / SPAN][e % SPAN];
}

static inline void fetch_weights(thread simdgroup_float8x8 (&to)[PARTS_K][2],
                                 device const float* from) {
#pragma unroll
  for (int i = 0; i < PARTS_K; ++i) load_left_packed(to[i], from + i * (16 * DEPTH));
}

static inline void multiply(thread simdgroup_float8x8 (&sums)[PARTS_K][4][2],
                            thread const simdgroup_float8x8 (&left)[PARTS_K][2],
                            threadgroup const float* inputs) {
  simdgroup_float8x8 right[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) load_right(right[j], inputs + 8 * j, ROW);
#pragma unroll
  for (int i = 0; i < PARTS_K; ++i) {
    simdgroup_float8x8 products[4][2];
#pragma unroll
    for (int j = 0; j < 4; ++j) begin_products(products[j]);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      multiply_add(sums[i][j], products[j], left[i], right[j], Terms<TERMS>());
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) end_products(sums[i][j], products[j]);
  }
}

// 2 x 2 outputs of channel k, those that exist.
static inline void store_tile(device out_elem* y, thread const float (&v)[2][2], int k, Place at,
                              constant ConvParams& p) {
  const int down = step_h(p), right = step_w(p);
  device out_elem* to = y + (y_image(p, at.n) + y_channel(p, k) + at.row * y_row(p) +
                             at.column * y_column(p));
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (at.row + i * down >= p.P) continue;
    device out_elem* line = to + i * down * y_row(p);
#if !NHWC
    if (right == 1 && store_width(p, p.Q) >= 2) {
      *(device out_elem2*)line = out_elem2(out_elem(v[i][0]), out_elem(v[i][1]));
      continue;
    }
#endif
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (at.column + j * right < p.Q) line[j * right * y_column(p)] = out_elem(v[i][j]);
    }
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
  threadgroup float4 staged[2 * SLAB / 4];
  const int t = int(thread_index), simd = t / 32;
  const Work work = work_of(group_number(group, groups), p);
  if (work.g >= p.groups) return;  // the grid may hold more threadgroups than there are tiles
  // Neighbouring lanes take neighbours in memory: tiles in NCHW, channels in NHWC.
  const int tile = NHWC ? t / DEPTH : t % TILES, channel = NHWC ? t % DEPTH : t / TILES;
  const Place place = place_of(work.tile + tile, p);
  Window window = window_at(place, work.g, work.first * DEPTH + channel, p);
  threadgroup float* to = (threadgroup float*)staged + (channel * ROW + tile);

  simdgroup_float8x8 sums[2][PARTS_K][4][2], weights[2][PARTS_K][2];
#pragma unroll
  for (int i = 0; i < 16 * PARTS_K; ++i) {
    sums[i / 8 / PARTS_K][i / 8 % PARTS_K][i / 2 % 4][i % 2] =
        make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  device const float* from =
      packed + (((index(work.g) * block_count(p) + work.block) * slab_count(p) + work.first) *
                    PRODUCTS + 2 * simd) * WEIGHTS;
  fetch_weights(weights[0], from);
  float next[SPAN][SPAN];
  fetch(next, x, window, p);
  stage(to, next);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (int slab = work.first; slab < work.last; ++slab) {
    const bool more = slab + 1 < work.last;
    const int half_at = (slab - work.first) % 2 * SLAB;  // of threadgroup memory, the slab's
    threadgroup const float* inputs =
        (threadgroup const float*)staged + (half_at + 2 * simd * PLANE);
    if (more) fetch(next, x, window, p);
    fetch_weights(weights[1], from + WEIGHTS);
    multiply(sums[0], weights[0], inputs);
    if (more) {
      from += PRODUCTS * WEIGHTS;
      fetch_weights(weights[0], from);
      stage(to + (SLAB - half_at), next);
    }
    multiply(sums[1], weights[1], inputs + PLANE);
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
      store_sums(sums[j / 8][i][j / 2 % 4][j % 2],
                 scratch + (j / 8 * 16 * ROW + j % 2 * 8 * ROW + j / 2 % 4 * 8), ROW);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int pass = 0; pass < 2; ++pass) {
      const int row = pass * DEPTH + channel, k = work.block * TILE_K + i * 16 + row;
      if (place.n >= p.N || k >= K) continue;
      float m[SPAN][SPAN], v[2][2];
#pragma unroll
      for (int e = 0; e < PRODUCTS; ++e) {
        m[e / SPAN][e % SPAN] = ((threadgroup const float*)staged)[(e * 16 + row) * ROW + tile];
      }
      transform_output(m, v);
      const float b = bias_of(bias, p, work.g * K + k);
#pragma unroll
      for (int e = 0; e < 4; ++e) v[e / 2][e % 2] = activate(v[e / 2][e % 2] + b);
      store_tile(y, v, work.g * K + k, place, p);
    }
    if (i + 1 < PARTS_K) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
