// SPDX-License-Identifier: Apache-2.0
// Any convolution as a matrix product that is never laid out: output channels of a group x pixels,
// summed over taps x input channels. A threadgroup makes a tile of it, a thread 8 x 8 outputs.
//
// Macros beside those of conv.h: TILE_K x TILE_PIXELS, the tile; DEPTH, the input channels of one
// tap that are staged at a time.
#include "conv.h"

enum {
  THREADS = TILE_K / 8 * (TILE_PIXELS / 8),
  GATHERS = TILE_PIXELS / THREADS,  // pixels whose input a thread stages
};

// A pixel of the output, counted over all images, and where its window begins.
struct Pixel {
  index image;  // offset of its group's first channel; -1: there is no such pixel
  int h, w;
};

static inline Pixel pixel_at(index number, int first_channel, constant ConvParams& p) {
  Pixel pixel;
  const int n = int(number / p.Q / p.P);
  pixel.image = n < p.N ? x_image(p, n) + x_channel(p, first_channel) : index(-1);
  pixel.h = int(number / p.Q % p.P) * p.stride_h - p.pad_top;
  pixel.w = int(number % p.Q) * p.stride_w - p.pad_left;
  return pixel;
}

// DEPTH channels from c on of the input under one tap.
static inline void stage_input(threadgroup float* tile, device const elem* x, Pixel pixel, int r,
                               int s, int c, constant ConvParams& p) {
  const int h = pixel.h + r * p.dilation_h, w = pixel.w + s * p.dilation_w;
  const bool inside = pixel.image >= 0 && h >= 0 && h < p.H && w >= 0 && w < p.W;
  const int channels = inside ? p.C / p.groups - c : 0;
  device const elem* from = x;
  if (inside) from += pixel.image + x_channel(p, c) + h * x_row(p) + w * x_column(p);
#pragma unroll
  for (int i = 0; i < DEPTH; ++i) {
    tile[i * TILE_PIXELS] = i < channels ? float(from[x_channel(p, i)]) : 0.0f;
  }
}

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

// 4 x 4 outputs: channels from k on (of which `channels` exist), pixels from `number` on.
static inline void store_block(device elem* y, thread const float (&sums)[8][8], int i0, int j0,
                               int k, int channels, index number, constant ConvParams& p) {
  const index plane = index(p.P) * p.Q, all = plane * p.N;
#if NHWC
  const int width = store_width(p, p.K / p.groups);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float v[4] = {sums[i0][j0 + j], sums[i0 + 1][j0 + j], sums[i0 + 2][j0 + j],
                        sums[i0 + 3][j0 + j]};
    if (number + j < all) store(y + ((number + j) * p.K + k), v, channels, width);
  }
#else
  const index n = number / plane, within = number % plane;
  const int left = plane - within < 4 ? int(plane - within) : 4;  // in this image
  const int width = store_width(p, int(plane % 4));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float v[4] = {sums[i0 + i][j0], sums[i0 + i][j0 + 1], sums[i0 + i][j0 + 2],
                        sums[i0 + i][j0 + 3]};
    if (i >= channels || number >= all) break;
    store(y + ((n * p.K + k + i) * plane + within), v, left, width);
#pragma unroll
    for (int j = 1; j < 4; ++j) {  // the following images, where planes are that small
      const index next = number + j;
      if (j < left || next >= all) continue;
      y[(next / plane * p.K + k + i) * plane + next % plane] = elem(v[j]);
    }
  }
#endif
}

[[kernel, max_total_threads_per_threadgroup(TILE_K / 8 * (TILE_PIXELS / 8))]]
void general(device const elem* x [[buffer(0)]],
             device const float* packed [[buffer(1)]],  // blocks of TILE_K channels, taps first
             device const elem* bias [[buffer(2)]],
             device elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float4 weights[DEPTH * TILE_K / 4];
  threadgroup float4 input[DEPTH * TILE_PIXELS / 4];
  const int t = int(thread_index);
  const index number = group_number(group, groups);
  const int K = p.K / p.groups, C = p.C / p.groups;  // of a convolution group
  const int blocks = (K + TILE_K - 1) / TILE_K;
  const index tiles = (index(p.N) * p.P * p.Q + TILE_PIXELS - 1) / TILE_PIXELS;
  const int block = int(number % blocks), g = int(number / blocks / tiles);
  const index first_pixel = number / blocks % tiles * TILE_PIXELS;
  if (g >= p.groups) return;  // the grid may hold more threadgroups than there are tiles

  Pixel pixels[GATHERS];
#pragma unroll
  for (int i = 0; i < GATHERS; ++i) {
    pixels[i] = pixel_at(first_pixel + t + i * THREADS, g * C, p);
  }
  const int k0 = t / (TILE_PIXELS / 8), q0 = t % (TILE_PIXELS / 8);  // in vectors of 4
  float sums[8][8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int k = block * TILE_K + k0 * 4 + i / 4 * (TILE_K / 2) + i % 4;
    const float b = k < K ? bias_of(bias, p, g * K + k) : 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[i][j] = b;
  }
  const int steps = (C + DEPTH - 1) / DEPTH;
  device const float4* from =
      (device const float4*)packed +
      (index(g) * blocks + block) * p.R * p.S * steps * (DEPTH * TILE_K / 4);
  for (int tap = 0; tap < p.R * p.S; ++tap) {
    const int r = tap / p.S, s = tap % p.S;
    for (int c = 0; c < C; c += DEPTH) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      for (int i = t; i < DEPTH * TILE_K / 4; i += THREADS) weights[i] = from[i];
      from += DEPTH * TILE_K / 4;
#pragma unroll
      for (int i = 0; i < GATHERS; ++i) {
        stage_input((threadgroup float*)input + (t + i * THREADS), x, pixels[i], r, s, c, p);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll 2
      for (int i = 0; i < DEPTH; ++i) {
        multiply(sums, weights + (i * (TILE_K / 4) + k0), input + (i * (TILE_PIXELS / 4) + q0));
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 64; ++i) sums[i / 8][i % 8] = activate(sums[i / 8][i % 8]);
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const int k = block * TILE_K + k0 * 4 + i / 4 * (TILE_K / 2);
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      const index pixel = first_pixel + q0 * 4 + j / 4 * (TILE_PIXELS / 2);
      store_block(y, sums, i, j, g * K + k, K - k, pixel, p);
    }
  }
}
