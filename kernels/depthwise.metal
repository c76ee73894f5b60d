// SPDX-License-Identifier: Apache-2.0
// One input channel a group. A thread goes down one column of one output plane: ROWS outputs, whose
// window it reads column by column, so that each input in registers serves all rows that need it.
// Neighbouring lanes take neighbours in memory: columns in NCHW, channels in NHWC, where a thread
// may have VECTOR of them.
//
// Macros beside those of conv.h: KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W;
// ROWS, the outputs of a thread; UNROLL, the columns of the window that are unrolled; VECTOR, the
// channels of a thread, 1 or, in NHWC with as many outputs as inputs in multiples of 4, 4; THREADS.
#include "conv.h"

enum { WINDOW_ROWS = (ROWS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1 };

// Whether one of a thread's outputs reads that row of its window. Decided while unrolling.
static inline bool is_read(int row) {
  bool read = false;
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    const int from = row - i * STRIDE_H;
    read = read || (from >= 0 && from % DILATION_H == 0 && from / DILATION_H < KERNEL_H);
  }
  return read;
}

// Where a channel's weight for a tap lies: channels follow each other as lanes do.
static inline index weight_at(int k, int tap, constant ConvParams& p) {
  return NHWC ? index(tap) * p.K + k : index(k) * (KERNEL_H * KERNEL_W) + tap;
}

static inline void fetch(thread float (&to)[VECTOR], device const elem* from, bool exists,
                         constant ConvParams& p) {
#pragma unroll
  for (int v = 0; v < VECTOR; ++v) to[v] = 0.0f;
  if (!exists) return;
#if VECTOR == 4
  if (p.x_alignment == 4) {
    const elem4 values = *(device const elem4*)from;
    to[0] = float(values.x);
    to[1] = float(values.y);
    to[2] = float(values.z);
    to[3] = float(values.w);
    return;
  }
#endif
#pragma unroll
  for (int v = 0; v < VECTOR; ++v) to[v] = float(from[v]);
}

static inline void fetch_weights(thread float (&to)[VECTOR], device const float* from) {
#if VECTOR == 4
  const float4 values = *(device const float4*)from;
  to[0] = values.x;
  to[1] = values.y;
  to[2] = values.z;
  to[3] = values.w;
#else
  to[0] = from[0];
#endif
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void depthwise(device const elem* x [[buffer(0)]],
               device const float* packed [[buffer(1)]],
               device const elem* bias [[buffer(2)]],
               device elem* y [[buffer(3)]],
               constant ConvParams& p [[buffer(4)]],
               uint3 group [[threadgroup_position_in_grid]],
               uint3 groups [[threadgroups_per_grid]],
               uint thread_index [[thread_index_in_threadgroup]]) {
  const index number = group_number(group, groups) * THREADS + int(thread_index);
  const int strips = (p.P + ROWS - 1) / ROWS;
#if NHWC
  const int lanes = p.K / VECTOR;
  const int k = int(number % lanes) * VECTOR, q = int(number / lanes % p.Q);
  const int row = int(number / lanes / p.Q % strips) * ROWS;
  const int n = int(number / lanes / p.Q / strips);
#else
  const int q = int(number % p.Q), row = int(number / p.Q % strips) * ROWS;
  const int k = int(number / p.Q / strips % p.K), n = int(number / p.Q / strips / p.K);
#endif
  if (n >= p.N) return;  // the grid may hold more threads than there are columns

  float sums[ROWS][VECTOR];
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
#pragma unroll
    for (int v = 0; v < VECTOR; ++v) sums[i][v] = bias_of(bias, p, k + v);
  }
  const int h = row * STRIDE_H - p.pad_top, w = q * STRIDE_W - p.pad_left;
  device const elem* plane = x + (x_image(p, n) + x_channel(p, k / (p.K / p.C)));
#pragma unroll UNROLL
  for (int s = 0; s < KERNEL_W; ++s) {
    const int column = w + s * DILATION_W;
    const bool exists = column >= 0 && column < p.W;
    device const elem* from = plane + (exists ? column : 0) * x_column(p);
    float window[WINDOW_ROWS][VECTOR];
#pragma unroll
    for (int i = 0; i < WINDOW_ROWS; ++i) {
      if (!is_read(i)) continue;
      const bool inside = exists && h + i >= 0 && h + i < p.H;
      fetch(window[i], from + (inside ? (h + i) * x_row(p) : 0), inside, p);
    }
#pragma unroll
    for (int r = 0; r < KERNEL_H; ++r) {
      float weights[VECTOR];
      fetch_weights(weights, packed + weight_at(k, r * KERNEL_W + s, p));
#pragma unroll
      for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) {
          sums[i][v] = fma(weights[v], window[i * STRIDE_H + r * DILATION_H][v], sums[i][v]);
        }
      }
    }
  }
  device elem* to = y + (y_image(p, n) + y_channel(p, k) + row * y_row(p) + q * y_column(p));
#if VECTOR == 4
  const int width = store_width(p, p.K);
#endif
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    if (row + i >= p.P) continue;
#pragma unroll
    for (int v = 0; v < VECTOR; ++v) sums[i][v] = activate(sums[i][v]);
#if VECTOR == 4
    store(to + i * y_row(p), sums[i], 4, width);
#else
    to[i * y_row(p)] = elem(sums[i][0]);
#endif
  }
}
