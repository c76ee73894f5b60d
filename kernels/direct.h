// SPDX-License-Identifier: Apache-2.0
// Few input channels: a threadgroup keeps a tile of the input and the weights of some output
// channels in threadgroup memory, a thread PIXELS x ROWS outputs of 4 channels in registers.
//
// Macros beside those of conv.h: KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W;
// CHANNELS, the input channels staged at a time; ROWS, the output rows of a thread; QUADS, the
// quadruples of output channels of a threadgroup; LANES_K x LANES_X x LANES_Y, its threads.
#pragma once
#include "conv.h"

enum {
  PIXELS = 4,  // neighbours in a row: one vector store
  THREADS = LANES_K * LANES_X * LANES_Y,
  TAPS = KERNEL_H * KERNEL_W,
  // What a thread reads of a channel.
  WINDOW_ROWS = (ROWS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1,
  WINDOW_COLUMNS = ((PIXELS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 4) / 4 * 4,
  // What all threads read of it.
  TILE_ROWS = (LANES_Y - 1) * ROWS * STRIDE_H + WINDOW_ROWS,
  TILE_COLUMNS = (LANES_X - 1) * PIXELS * STRIDE_W + WINDOW_COLUMNS,
  TILE_FLOATS = CHANNELS * TILE_ROWS * TILE_COLUMNS,
};

// A thread's part of the output.
struct Place {
  int n, k, row, column;  // of its first output; k is of the first quadruple of the threadgroup
  int lane_k, lane_x, lane_y;
};

// Neighbouring lanes take neighbours in memory: columns in NCHW, channels in NHWC. Threadgroups
// that share their input follow each other.
static inline Place place_of(index number, int t, constant ConvParams& p) {
  const int blocks = (p.K + 4 * QUADS - 1) / (4 * QUADS);
  const int across = (p.Q + PIXELS * LANES_X - 1) / (PIXELS * LANES_X);
  const int down = (p.P + ROWS * LANES_Y - 1) / (ROWS * LANES_Y);
  Place at;
#if NHWC
  at.lane_k = t % LANES_K;
  at.lane_x = t / LANES_K % LANES_X;
  at.lane_y = t / (LANES_K * LANES_X);
#else
  at.lane_x = t % LANES_X;
  at.lane_y = t / LANES_X % LANES_Y;
  at.lane_k = t / (LANES_X * LANES_Y);
#endif
  at.k = int(number % blocks) * 4 * QUADS;
  at.column = (int(number / blocks % across) * LANES_X + at.lane_x) * PIXELS;
  at.row = (int(number / blocks / across % down) * LANES_Y + at.lane_y) * ROWS;
  at.n = int(number / blocks / across / down);
  return at;
}

// CHANNELS channels of the input from c on, with zeros where there is none.
static inline void stage_tile(threadgroup float4* tile, device const elem* x, Place at, int c,
                              int t, constant ConvParams& p) {
  const int row0 = (at.row - at.lane_y * ROWS) * STRIDE_H - p.pad_top;
  const int column0 = (at.column - at.lane_x * PIXELS) * STRIDE_W - p.pad_left;
  device const elem* image = x + x_image(p, at.n);
  for (int i = t; i < TILE_FLOATS / 4; i += THREADS) {
    const int line = i / (TILE_COLUMNS / 4);
    const int row = row0 + line % TILE_ROWS;
    const int column = column0 + i % (TILE_COLUMNS / 4) * 4;
    const int channel = c + line / TILE_ROWS;
    float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (row >= 0 && row < p.H && channel < p.C) {
      device const elem* from = image + (x_channel(p, channel) + row * x_row(p));
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (column + j >= 0 && column + j < p.W) v[j] = float(from[(column + j) * x_column(p)]);
      }
    }
    tile[i] = float4(v[0], v[1], v[2], v[3]);
  }
}

// A row of a thread's window straight from one channel of the input, with zeros where there is none.
static inline void read_row(thread float (&to)[WINDOW_COLUMNS], device const elem* x, int row,
                            int column, constant ConvParams& p) {
  const bool inside = row >= 0 && row < p.H;
  device const elem* from = x + (inside ? row : 0) * x_row(p);
#pragma unroll
  for (int i = 0; i < WINDOW_COLUMNS; ++i) {
    const bool exists = inside && column + i >= 0 && column + i < p.W;
    to[i] = exists ? float(from[(column + i) * x_column(p)]) : 0.0f;
  }
}

static inline void stage_weights(threadgroup float4* weights, device const float* packed,
                                 index first, int t) {
  device const float4* from = (device const float4*)packed + first;
  for (int i = t; i < CHANNELS * TAPS * QUADS; i += THREADS) weights[i] = from[i];
}

static inline void load_row(thread float (&row)[WINDOW_COLUMNS], threadgroup const float4* tile) {
#pragma unroll
  for (int i = 0; i < WINDOW_COLUMNS / 4; ++i) {
    const float4 v = tile[i];
    row[4 * i] = v.x;
    row[4 * i + 1] = v.y;
    row[4 * i + 2] = v.z;
    row[4 * i + 3] = v.w;
  }
}

// Adds one tap of a row of outputs: 4 channels x PIXELS.
static inline void add_tap(thread float (&sums)[4][PIXELS], float4 weight,
                           thread const float (&row)[WINDOW_COLUMNS], int column) {
  const float w[4] = {weight.x, weight.y, weight.z, weight.w};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
#pragma unroll
    for (int q = 0; q < PIXELS; ++q) {
      sums[k][q] = fma(w[k], row[q * STRIDE_W + column], sums[k][q]);
    }
  }
}

static inline void begin_sums(thread float (&sums)[ROWS][4][PIXELS], device const elem* bias,
                              int k, constant ConvParams& p) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float b = bias_of(bias, p, k + i);
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
#pragma unroll
      for (int q = 0; q < PIXELS; ++q) sums[row][i][q] = b;
    }
  }
}

// 4 channels from k on: vectors run along the columns in NCHW, along the channels in NHWC. WHOLE:
// all of them exist and are written as vectors.
template <bool WHOLE>
static inline void store_rows(device elem* y, thread const float (&sums)[ROWS][4][PIXELS], int k,
                              Place at, constant ConvParams& p) {
  const int width = store_width(p, NHWC ? p.K : p.Q);
#pragma unroll
  for (int row = 0; row < ROWS; ++row) {
    const int columns = at.row + row < p.P ? p.Q - at.column : 0;  // that exist
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#if NHWC
      const float v[4] = {sums[row][0][i], sums[row][1][i], sums[row][2][i], sums[row][3][i]};
      device elem* to = y + (row * y_row(p) + i * y_column(p));
      const int count = i < columns ? p.K - k : 0;
#else
      const float v[4] = {sums[row][i][0], sums[row][i][1], sums[row][i][2], sums[row][i][3]};
      device elem* to = y + (row * y_row(p) + y_channel(p, i));
      const int count = k + i < p.K ? columns : 0;
#endif
      if (WHOLE)
        store_vector(to, v);
      else
        store(to, v, count, width);
    }
  }
}

static inline void store_sums(device elem* y, thread float (&sums)[ROWS][4][PIXELS], int k,
                              Place at, constant ConvParams& p) {
#pragma unroll
  for (int i = 0; i < ROWS * 4 * PIXELS; ++i) {
    thread float& sum = sums[i / (4 * PIXELS)][i / PIXELS % 4][i % PIXELS];
    sum = activate(sum);
  }
  device elem* to = y + (y_image(p, at.n) + y_channel(p, k) + at.row * y_row(p) +
                         at.column * y_column(p));
  if (store_width(p, NHWC ? p.K : p.Q) == 4 && k + 4 <= p.K && at.row + ROWS <= p.P &&
      at.column + PIXELS <= p.Q) {
    store_rows<true>(to, sums, k, at, p);
  } else {
    store_rows<false>(to, sums, k, at, p);
  }
}
