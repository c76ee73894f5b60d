// SPDX-License-Identifier: Apache-2.0
// One input channel a group. A thread goes down one column of one output plane: ROWS outputs, whose
// window it reads column by column, so that each input in registers serves all rows that need it.
// Neighbouring lanes take neighbours in memory: columns in NCHW, channels in NHWC.
//
// Macros beside those of conv.h: KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W;
// ROWS, the outputs of a thread; UNROLL, the columns of the window that are unrolled; THREADS.
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
  const int k = int(number % p.K), q = int(number / p.K % p.Q);
  const int row = int(number / p.K / p.Q % strips) * ROWS;
  const int n = int(number / p.K / p.Q / strips);
#else
  const int q = int(number % p.Q), row = int(number / p.Q % strips) * ROWS;
  const int k = int(number / p.Q / strips % p.K), n = int(number / p.Q / strips / p.K);
#endif
  if (n >= p.N) return;  // the grid may hold more threads than there are columns

  float sums[ROWS];
#pragma unroll
  for (int i = 0; i < ROWS; ++i) sums[i] = bias_of(bias, p, k);
  const int h = row * STRIDE_H - p.pad_top, w = q * STRIDE_W - p.pad_left;
  device const elem* plane = x + (x_image(p, n) + x_channel(p, k / (p.K / p.C)));
#pragma unroll UNROLL
  for (int s = 0; s < KERNEL_W; ++s) {
    const int column = w + s * DILATION_W;
    const bool exists = column >= 0 && column < p.W;
    device const elem* from = plane + (exists ? column : 0) * x_column(p);
    float window[WINDOW_ROWS];
#pragma unroll
    for (int i = 0; i < WINDOW_ROWS; ++i) {
      if (!is_read(i)) continue;
      const bool inside = exists && h + i >= 0 && h + i < p.H;
      window[i] = inside ? float(from[(h + i) * x_row(p)]) : 0.0f;
    }
#pragma unroll
    for (int r = 0; r < KERNEL_H; ++r) {
      const float weight = packed[weight_at(k, r * KERNEL_W + s, p)];
#pragma unroll
      for (int i = 0; i < ROWS; ++i) {
        sums[i] = fma(weight, window[i * STRIDE_H + r * DILATION_H], sums[i]);
      }
    }
  }
  device elem* to = y + (y_image(p, n) + y_channel(p, k) + row * y_row(p) + q * y_column(p));
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
    if (row + i < p.P) to[i * y_row(p)] = elem(activate(sums[i]));
  }
}
