// SPDX-License-Identifier: Apache-2.0
// A convolution as a matrix product that is never laid out: output channels of a group x pixels,
// summed over a reduction of taps and input channels. This is what the kernels that do so share:
// which tile and slabs a threadgroup has, how they come into threadgroup memory, how outputs leave.
//
// Macros beside those of conv.h: TILE_K x TILE_PIXELS, the tile, of which a thread makes 64
// outputs; DEPTH, the slab; FLAT: 0, a slab is DEPTH input channels under one tap; 1, it is DEPTH
// neighbours of the weights' own order (channel, then tap), for few channels; SPLIT: 1, a
// threadgroup sums a part of the reduction, and y holds the sums of the parts one after the other;
// PAD, floats behind each row of a slab, which keep banks apart.
#pragma once
#include "conv.h"

enum {
  THREADS = TILE_K / 8 * (TILE_PIXELS / 8),
  GATHERS = TILE_PIXELS > THREADS ? TILE_PIXELS / THREADS : 1,  // pixels that a thread stages
  PARTS = THREADS > TILE_PIXELS ? THREADS / TILE_PIXELS : 1,    // threads that stage one pixel
  RUN = DEPTH / PARTS,                                          // elements of it in a thread
  WEIGHTS = DEPTH * TILE_K / 4,                                 // of a slab, in vectors
  WEIGHT_LOADS = (WEIGHTS + THREADS - 1) / THREADS,
  // Rows and slabs in threadgroup memory, in floats.
  WEIGHT_ROW = TILE_K + PAD,
  INPUT_ROW = TILE_PIXELS + PAD,
  SLAB = DEPTH * (WEIGHT_ROW + INPUT_ROW),
};

// A threadgroup's part of the work.
struct Tile {
  int g, block;       // which convolution group, and which TILE_K of its channels
  index pixel;        // the first
  int first, last;    // slabs of the reduction
  int part;           // of the parts, which
};

static inline int slab_count(constant ConvParams& p) {
  const int C = p.C / p.groups;
#if FLAT
  return (C * p.R * p.S + DEPTH - 1) / DEPTH;
#else
  return p.R * p.S * ((C + DEPTH - 1) / DEPTH);
#endif
}

// Threadgroups that share pixels follow each other. A group beyond the last: there is no such tile.
static inline Tile tile_of(index number, constant ConvParams& p) {
  const int blocks = (p.K / p.groups + TILE_K - 1) / TILE_K;
  const index tiles = (index(p.N) * p.P * p.Q + TILE_PIXELS - 1) / TILE_PIXELS;
  Tile tile;
  tile.block = int(number % blocks);
  tile.pixel = number / blocks % tiles * TILE_PIXELS;
  number = number / blocks / tiles;
  tile.part = 0;
  tile.first = 0;
  tile.last = slab_count(p);
#if SPLIT
  tile.part = int(number % p.splits);
  number = number / p.splits;
  tile.first = int(long(slab_count(p)) * tile.part / p.splits);
  tile.last = int(long(slab_count(p)) * (tile.part + 1) / p.splits);
#endif
  tile.g = int(number);
  return tile;
}

// A tile's packed weights, from its first slab on.
static inline device const float4* weights_of(device const float* packed, Tile tile,
                                              constant ConvParams& p) {
  const int blocks = (p.K / p.groups + TILE_K - 1) / TILE_K;
  return (device const float4*)packed +
         ((index(tile.g) * blocks + tile.block) * slab_count(p) + tile.first) * WEIGHTS;
}

// A pixel of the output, counted over all images, and where its window begins.
struct Pixel {
  index from;  // offset of that place in the group's first channel; may lie outside the image
  int h, w;    // H and beyond: there is no such pixel
};

// Where a slab begins.
struct Slab {
  int r, s, c;
};

static inline Pixel pixel_at(index number, int first_channel, constant ConvParams& p) {
  Pixel pixel;
  const int n = int(number / p.Q / p.P);
  pixel.h = int(number / p.Q % p.P) * p.stride_h - p.pad_top;
  pixel.w = int(number % p.Q) * p.stride_w - p.pad_left;
  pixel.from = 0;
  if (n < p.N)
    pixel.from = x_image(p, n) + x_channel(p, first_channel) + pixel.h * x_row(p) +
                 pixel.w * x_column(p);
  else
    pixel.h = p.H;
  return pixel;
}

static inline bool is_inside(int h, int w, constant ConvParams& p) {
  return uint(h) < uint(p.H) && uint(w) < uint(p.W);
}

static inline Slab slab_at(int number, constant ConvParams& p) {
  Slab slab;
#if FLAT
  const int taps = p.R * p.S, e = number * DEPTH;
  slab.c = e / taps;
  slab.r = e % taps / p.S;
  slab.s = e % taps % p.S;
#else
  const int steps = (p.C / p.groups + DEPTH - 1) / DEPTH;
  slab.c = number % steps * DEPTH;
  slab.r = number / steps / p.S;
  slab.s = number / steps % p.S;
#endif
  return slab;
}

static inline void advance(thread Slab& slab, constant ConvParams& p) {
#if FLAT
  slab.s += DEPTH;
  while (slab.s >= p.S) {
    slab.s -= p.S;
    slab.r += 1;
    if (slab.r == p.R) {
      slab.r = 0;
      slab.c += 1;
    }
  }
#else
  slab.c += DEPTH;
  if (slab.c < p.C / p.groups) return;
  slab.c = 0;
  slab.s += 1;
  if (slab.s < p.S) return;
  slab.s = 0;
  slab.r += 1;
#endif
}

// The RUN elements from `first` on of one pixel in a slab.
static inline void fetch_input(thread float (&to)[RUN], device const elem* x, Pixel pixel,
                               Slab slab, int first, constant ConvParams& p) {
  const int C = p.C / p.groups;
#if FLAT
  Slab at = slab;
  for (at.s += first; at.s >= p.S; at.s -= p.S) at.r += 1;
  for (; at.r >= p.R; at.r -= p.R) at.c += 1;
#pragma unroll
  for (int i = 0; i < RUN; ++i) {
    const int dh = at.r * p.dilation_h, dw = at.s * p.dilation_w;
    const bool exists = at.c < C && is_inside(pixel.h + dh, pixel.w + dw, p);
    index from = 0;
    if (exists) from = pixel.from + x_channel(p, at.c) + dh * x_row(p) + dw * x_column(p);
    to[i] = exists ? float(x[from]) : 0.0f;
    at.s += 1;
    if (at.s == p.S) {
      at.s = 0;
      at.r += 1;
    }
    if (at.r == p.R) {
      at.r = 0;
      at.c += 1;
    }
  }
#else
  const int dh = slab.r * p.dilation_h, dw = slab.s * p.dilation_w;
  const int c = slab.c + first;
  const int channels = is_inside(pixel.h + dh, pixel.w + dw, p) ? C - c : 0;
  device const elem* from =
      x + (channels > 0 ? pixel.from + x_channel(p, c) + dh * x_row(p) + dw * x_column(p) : 0);
#if NHWC
  if (p.x_alignment == 4 && C % 4 == 0) {
#pragma unroll
    for (int i = 0; i < RUN; i += 4) {
      elem4 v = elem4(elem(0.0f));
      if (i < channels) v = *(device const elem4*)(from + i);
      to[i] = float(v.x);
      to[i + 1] = float(v.y);
      to[i + 2] = float(v.z);
      to[i + 3] = float(v.w);
    }
    return;
  }
#endif
#pragma unroll
  for (int i = 0; i < RUN; ++i) to[i] = i < channels ? float(from[x_channel(p, i)]) : 0.0f;
#endif
}

// A thread's part of a slab's weights, on their way.
struct WeightRun {
  float4 v[WEIGHT_LOADS];
};

static inline void fetch_weights(thread WeightRun& to, device const float4* from, int t) {
#pragma unroll
  for (int i = 0; i < WEIGHT_LOADS; ++i) {
    if (WEIGHTS % THREADS == 0 || t + i * THREADS < WEIGHTS) to.v[i] = from[t + i * THREADS];
  }
}

static inline void fetch_slab(thread WeightRun& weights,
                              thread float (&input)[GATHERS][RUN], device const elem* x,
                              device const float4* from, thread const Pixel (&pixels)[GATHERS],
                              Slab slab, int run, int t, constant ConvParams& p) {
  fetch_weights(weights, from, t);
#pragma unroll
  for (int i = 0; i < GATHERS; ++i) fetch_input(input[i], x, pixels[i], slab, run, p);
}

static inline void stage_weights(threadgroup float* to, thread const WeightRun& from, int t) {
#pragma unroll
  for (int i = 0; i < WEIGHT_LOADS; ++i) {
    const int at = t + i * THREADS, row = at / (TILE_K / 4);
    if (WEIGHTS % THREADS != 0 && at >= WEIGHTS) continue;
    *(threadgroup float4*)(to + (row * WEIGHT_ROW + at % (TILE_K / 4) * 4)) = from.v[i];
  }
}

static inline void stage_input(threadgroup float* to, thread const float (&from)[GATHERS][RUN],
                               int t) {
  threadgroup float* place = to + (t / TILE_PIXELS * RUN * INPUT_ROW + t % TILE_PIXELS);
#pragma unroll
  for (int i = 0; i < GATHERS; ++i) {
#pragma unroll
    for (int e = 0; e < RUN; ++e) place[e * INPUT_ROW + i * THREADS] = from[i][e];
  }
}

// 4 x 4 outputs: channels from k on (of which `channels` exist), pixels from `number` on.
static inline void store_block(device out_elem* y, thread const float (&sums)[4][4], int k,
                               int channels, index number, constant ConvParams& p) {
  const index plane = index(p.P) * p.Q, all = plane * p.N;
#if NHWC
  const int width = store_width(p, p.K / p.groups);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float v[4] = {sums[0][j], sums[1][j], sums[2][j], sums[3][j]};
    if (number + j < all) store(y + ((number + j) * p.K + k), v, channels, width);
  }
#else
  const index n = number / plane, within = number % plane;
  const int left = plane - within < 4 ? int(plane - within) : 4;  // in this image
  const int width = store_width(p, int(plane % 4));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float v[4] = {sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
    if (i >= channels || number >= all) break;
    store(y + ((n * p.K + k + i) * plane + within), v, left, width);
#pragma unroll
    for (int j = 1; j < 4; ++j) {  // the following images, where planes are that small
      const index next = number + j;
      if (j < left || next >= all) continue;
      y[(next / plane * p.K + k + i) * plane + next % plane] = out_elem(v[j]);
    }
  }
#endif
}
