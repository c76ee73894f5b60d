// SPDX-License-Identifier: Apache-2.0
// Winograd in one pass, for winograd_f2.metal and winograd_f4.metal.
// A threadgroup makes TILE_K channels of TILES tiles. Its threads transform the input of one slab
// of channels after the other into threadgroup memory; its 8 simdgroups add up the products, each
// its own, whose weights nobody else needs, on matrix units; the sums meet in threadgroup memory
// and are transformed back. Nothing else is ever stored (after Yan, Wang and Chu, "Optimizing
// Batched Winograd Convolution on GPUs", 2020, who do the same with multiply-adds).
// Macros beside those of winograd_tiles.h: TILES, 16 or 32; TILE_K; SPLIT: 1, a threadgroup sums a
// part of the reduction, and y holds the sums of the parts one after the other; PAD, floats behind
// each row of a slab, which keep banks apart; TURNS, the places of the loop where one simdgroup or
// another transforms the next slab; TERMS, see fragments.h.
#pragma once
#include "winograd_tiles.h"
#include "fragments.h"

enum {
  THREADS = 256,
  DEPTH = 8,                   // input channels of a slab
  ROW = TILES + PAD,           // of transformed inputs in threadgroup memory: one channel
  PLANE = DEPTH * ROW,         // one product
  SLAB = PRODUCTS * PLANE,
  WEIGHTS = DEPTH * TILE_K,    // of one product in a slab
  UNIT = DEPTH * 16,           // of 16 channels of those
  RIGHTS = TILES / 8,          // fragments of inputs in a row
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

// Weights of a product in the work's first slab.
static inline device const float* weights_of(device const float* packed, Work work, int product,
                                             constant ConvParams& p) {
  return packed + (((index(work.g) * block_count(p) + work.block) * slab_count(p) + work.first) *
                       PRODUCTS + product) * WEIGHTS;
}

// Reads the window and goes on to that of the next slab.
static inline void fetch(thread float (&to)[SPAN][SPAN], device const elem* x,
                         thread Window& window, constant ConvParams& p) {
  read_window(to, x, window, p);
  window.from += x_channel(p, DEPTH);
  window.rest -= DEPTH;
}

static inline void fetch_inputs(thread simdgroup_float8x8 (&to)[RIGHTS],
                                threadgroup const float* from) {
#pragma unroll
  for (int j = 0; j < RIGHTS; ++j) load_right(to[j], from + 8 * j, ROW);
}

// A unit: 16 channels of a product.
static inline void multiply(thread simdgroup_float8x8 (&sums)[RIGHTS][2],
                            thread const simdgroup_float8x8 (&left)[2],
                            thread const simdgroup_float8x8 (&right)[RIGHTS]) {
#pragma unroll
  for (int j = 0; j < RIGHTS; ++j) {
    simdgroup_float8x8 products[2];
    begin_products(products);
    multiply_add(sums[j], products, left, right[j], Terms<TERMS>());
    end_products(sums[j], products);
  }
}
