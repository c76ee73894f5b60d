// SPDX-License-Identifier: Apache-2.0
// 3x3 with stride 1, f32: a threadgroup makes TILE_K channels of 32 tiles of 2 x 2 outputs. Its
// threads transform the input of one slab of channels after the other into threadgroup memory; each
// of its 8 simdgroups adds up 2 of the 16 products, whose weights nobody else needs, on matrix
// units; the sums meet in threadgroup memory and are transformed back. Nothing else is ever stored
// (after Yan, Wang and Chu, "Optimizing Batched Winograd Convolution on GPUs", 2020, who do the
// same with multiply-adds).
// Macros beside those of conv.h: TILE_K, 16, 32 or 64; SPLIT: 1, a threadgroup sums a part of the
// reduction, and y holds the sums of the parts one after the other; PAD, floats behind each row of
// a slab, which keep banks apart; DILATED, 0: columns are not; TURNS, 1, 2 or 4, the places of the
// loop where one simdgroup or another stages the next slab; TERMS, see fragments.h.
#include "fragments.h"
#include "winograd.h"

enum {
  THREADS = 256,
  TILES = 32,
  ROW = TILES + PAD,          // of transformed inputs in threadgroup memory: one channel
  PLANE = DEPTH * ROW,        // one product
  SLAB = PRODUCTS * PLANE,    // two slabs hold 16 channels of sums, too
  WEIGHTS = DEPTH * TILE_K,   // of one product in a slab
  UNIT = DEPTH * 16,          // of 16 channels of those
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

// What a thread reads of the input: 4 x 4 elements of one channel.
struct Window {
  index from;   // offset of the first element; may lie outside the image
  int rest;     // channels from this one on
  uint inside;  // a bit for each element: it exists
};

static inline Window window_at(Place at, int g, int channel, constant ConvParams& p) {
  const int h = at.row - p.pad_top, w = at.column - p.pad_left;
  Window window;
  window.rest = p.C / p.groups - channel;
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
  const uint inside = window.rest > 0 ? window.inside : 0u;
  const index row = p.dilation_h * x_row(p);
  const index column = DILATED ? p.dilation_w * x_column(p) : x_column(p);
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
    device const elem* line = x + (window.from + i * row);
#pragma unroll
    for (int j = 0; j < SPAN; ++j) {
      const bool exists = (inside & 1u << (i * SPAN + j)) != 0;
      to[i][j] = exists ? float(line[j * column]) : 0.0f;
    }
  }
  window.from += x_channel(p, DEPTH);
  window.rest -= DEPTH;
}

// Transforms the window into its 16 products' inputs.
static inline void stage(threadgroup float* to, thread float (&window)[SPAN][SPAN]) {
#pragma unroll
  for (int j = 0; j < SPAN; ++j)
    transform_input(window[0][j], window[1][j], window[2][j], window[3][j]);
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
    transform_input(window[i][0], window[i][1], window[i][2], window[i][3]);
#pragma unroll
    for (int j = 0; j < SPAN; ++j) to[(i * SPAN + j) * PLANE] = window[i][j];
  }
}

// A simdgroup does its part of a slab unit by unit: 16 channels of one of its 2
// products. Weights are
// on their way AHEAD units before they are needed.
enum {
  UNITS = 2 * PARTS_K,
  AHEAD = UNITS < 4 ? UNITS : 4,
  STAGINGS = UNITS < TURNS ? UNITS : TURNS,
};

static inline void fetch_inputs(thread simdgroup_float8x8 (&to)[4],
                                threadgroup const float* from) {
#pragma unroll
  for (int j = 0; j < 4; ++j) load_right(to[j], from + 8 * j, ROW);
}

static inline void multiply(thread simdgroup_float8x8 (&sums)[4][2],
                            thread const simdgroup_float8x8 (&left)[2],
                            thread const simdgroup_float8x8 (&right)[4]) {
  simdgroup_float8x8 products[4][2];
#pragma unroll
  for (int j = 0; j < 4; ++j) begin_products(products[j]);
#pragma unroll
  for (int j = 0; j < 4; ++j) multiply_add(sums[j], products[j], left, right[j], Terms<TERMS>());
#pragma unroll
  for (int j = 0; j < 4; ++j) end_products(sums[j], products[j]);
}

// Where a tile's outputs go.
struct Outputs {
  index to;      // offset of the first, in channel 0
  uint exists;   // bits: the tile, its second row, its second column
};

static inline Outputs outputs_at(Place at, constant ConvParams& p) {
  Outputs outputs;
  outputs.to = y_image(p, at.n) + at.row * y_row(p) + at.column * y_column(p);
  outputs.exists = 0;
  if (at.n >= p.N || at.row >= p.P || at.column >= p.Q) return outputs;
  outputs.exists = 1;
  if (at.row + step_h(p) < p.P) outputs.exists |= 2u;
  if (at.column + step_w(p) < p.Q) outputs.exists |= 4u;
  return outputs;
}

// 2 x 2 outputs of channel k, those that exist.
static inline void store_tile(device out_elem* y, thread const float (&v)[2][2], int k,
                              Outputs outputs, constant ConvParams& p) {
  const int down = step_h(p), right = step_w(p);
  device out_elem* to = y + (outputs.to + y_channel(p, k));
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && (outputs.exists & 2u) == 0) continue;
    device out_elem* line = to + i * down * y_row(p);
#if !NHWC
    if (right == 1 && store_width(p, p.Q) >= 2) {
      *(device out_elem2*)line = out_elem2(out_elem(v[i][0]), out_elem(v[i][1]));
      continue;
    }
#endif
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (j == 0 || (outputs.exists & 4u) != 0) line[j * right * y_column(p)] = out_elem(v[i][j]);
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
  const Outputs outputs = outputs_at(place, p);
  Window window = window_at(place, work.g, work.first * DEPTH + channel, p);
  threadgroup float* to = (threadgroup float*)staged + (channel * ROW + tile);

  simdgroup_float8x8 sums[UNITS][4][2], weights[AHEAD][2], inputs[4];
#pragma unroll
  for (int i = 0; i < 8 * UNITS; ++i) {
    sums[i / 8][i / 2 % 4][i % 2] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  device const float* from =
      packed + (((index(work.g) * block_count(p) + work.block) * slab_count(p) + work.first) *
                    PRODUCTS + 2 * simd) * WEIGHTS;
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
      float m[SPAN][SPAN], v[2][2];
#pragma unroll
      for (int e = 0; e < PRODUCTS; ++e) {
        m[e / SPAN][e % SPAN] = ((threadgroup const float*)staged)[(e * 16 + row) * ROW + tile];
      }
      transform_output(m, v);
      const float b = bias_of(bias, p, work.g * K + k);
#pragma unroll
      for (int e = 0; e < 4; ++e) v[e / 2][e % 2] = activate(v[e / 2][e % 2] + b);
      store_tile(y, v, work.g * K + k, outputs, p);
    }
    if (i + 1 < PARTS_K) threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}
