// SPDX-License-Identifier: Apache-2.0
// One input channel a group. A thread makes ROWS x COLUMNS outputs of a plane, whose window it reads
// column by column, so that each input in registers serves all outputs that need it. Neighbouring
// lanes take neighbours in memory: columns in NCHW, where COLUMNS is 1, and in NHWC channels, of
// which a thread may have four.
//
// Macros beside those of conv.h: KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W;
// CHANNELS, of the input, and MULTIPLIER, outputs for each, so that columns are at constant
// distances; ROWS, COLUMNS; UNROLL, the steps that are unrolled, all if COLUMNS is above 1; VECTOR,
// the channels of a thread, 1 or, in NHWC with as many outputs as inputs in multiples of 4, 4;
// THREADS.
#include "conv.h"

enum {
  WINDOW_ROWS = (ROWS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1,
  WINDOW_COLUMNS = (COLUMNS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1,
  STEPS = COLUMNS == 1 ? KERNEL_W : WINDOW_COLUMNS,  // columns that are looked at
  // Elements from a column to the next.
  X_COLUMN = NHWC ? CHANNELS : 1,
  Y_COLUMN = NHWC ? CHANNELS * MULTIPLIER : 1,
};

// The tap under which output i reads a row (or column) of the window, or -1.
static inline int tap_of(int place, int i, int stride, int dilation, int taps) {
  const int from = place - i * stride;
  return from >= 0 && from % dilation == 0 && from / dilation < taps ? from / dilation : -1;
}

// Whether one of a thread's outputs reads that row (or column). Decided while unrolling.
static inline bool is_read(int place, int outputs, int stride, int dilation, int taps) {
  bool read = false;
#pragma unroll
  for (int i = 0; i < outputs; ++i) read = read || tap_of(place, i, stride, dilation, taps) >= 0;
  return read;
}

// Where a channel's weight for a tap lies: channels follow each other as lanes do.
static inline index weight_at(int k, int tap, constant ConvParams& p) {
  return NHWC ? index(tap) * p.K + k : index(k) * (KERNEL_H * KERNEL_W) + tap;
}

// Neighbouring channels, one or four. Four are aligned.
template <class T>
static inline void fetch(thread float (&to)[1], device const T* from) {
  to[0] = float(from[0]);
}
template <class T>
static inline void fetch(thread float (&to)[4], device const T* from) {
  const vec<T, 4> values = *(device const vec<T, 4>*)from;
  to[0] = float(values.x);
  to[1] = float(values.y);
  to[2] = float(values.z);
  to[3] = float(values.w);
}
static inline void put(device elem* to, thread const float (&from)[1]) { to[0] = elem(from[0]); }
static inline void put(device elem* to, thread const float (&from)[4]) { store_vector(to, from); }

// ROWS x COLUMNS outputs of LANES channels. INSIDE: all of them exist, and so does their window.
template <int LANES, bool INSIDE>
static inline void block_of_outputs(device const elem* x, device const float* packed,
                                    device const elem* bias, device elem* y,
                                    constant ConvParams& p, int n, int k, int row, int q) {
  float sums[COLUMNS][ROWS][LANES];
#pragma unroll
  for (int i = 0; i < COLUMNS * ROWS; ++i) {
#pragma unroll
    for (int v = 0; v < LANES; ++v) sums[i / ROWS][i % ROWS][v] = bias_of(bias, p, k + v);
  }
  const int h = row * STRIDE_H - p.pad_top, w = q * STRIDE_W - p.pad_left;
  const index corner = h * x_row(p) + w * index(X_COLUMN);  // may lie outside
  device const elem* plane = x + (x_image(p, n) + x_channel(p, k / MULTIPLIER));
#pragma unroll UNROLL
  for (int step = 0; step < STEPS; ++step) {
    const int e = COLUMNS == 1 ? step * DILATION_W : step;
    if (!is_read(e, COLUMNS, STRIDE_W, DILATION_W, KERNEL_W)) continue;
    const int column = w + e;
    const bool exists = column >= 0 && column < p.W;
    float window[WINDOW_ROWS][LANES];
#pragma unroll
    for (int i = 0; i < WINDOW_ROWS; ++i) {
      if (!is_read(i, ROWS, STRIDE_H, DILATION_H, KERNEL_H)) continue;
#pragma unroll
      for (int v = 0; v < LANES; ++v) window[i][v] = 0.0f;
      if (INSIDE || (exists && h + i >= 0 && h + i < p.H))
        fetch(window[i], plane + (corner + (i * x_row(p) + e * index(X_COLUMN))));
    }
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      const int s = tap_of(e, j, STRIDE_W, DILATION_W, KERNEL_W);
      if (s < 0) continue;
#pragma unroll
      for (int r = 0; r < KERNEL_H; ++r) {
        float weights[LANES];
        fetch(weights, packed + weight_at(k, r * KERNEL_W + s, p));
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
          for (int v = 0; v < LANES; ++v) {
            sums[j][i][v] =
                fma(weights[v], window[i * STRIDE_H + r * DILATION_H][v], sums[j][i][v]);
          }
        }
      }
    }
  }
  device elem* to =
      y + (y_image(p, n) + y_channel(p, k) + row * y_row(p) + q * index(Y_COLUMN));
#pragma unroll
  for (int i = 0; i < ROWS; ++i) {
#pragma unroll
    for (int j = 0; j < COLUMNS; ++j) {
      if (!INSIDE && (row + i >= p.P || q + j >= p.Q)) continue;
#pragma unroll
      for (int v = 0; v < LANES; ++v) sums[j][i][v] = activate(sums[j][i][v]);
      put(to + (i * y_row(p) + j * Y_COLUMN), sums[j][i]);
    }
  }
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
  const int strips = (p.P + ROWS - 1) / ROWS, across = (p.Q + COLUMNS - 1) / COLUMNS;
#if NHWC
  const int lanes = p.K / VECTOR;
  const int k = int(number % lanes) * VECTOR, q = int(number / lanes % across) * COLUMNS;
  const int row = int(number / lanes / across % strips) * ROWS;
  const int n = int(number / lanes / across / strips);
#else
  const int q = int(number % across) * COLUMNS, row = int(number / across % strips) * ROWS;
  const int k = int(number / across / strips % p.K), n = int(number / across / strips / p.K);
#endif
  if (n >= p.N) return;  // the grid may hold more threads than there are columns
  const int h = row * STRIDE_H - p.pad_top, w = q * STRIDE_W - p.pad_left;
  // Decided here, for all loads: between them it would keep each waiting for the one before.
  const bool inside = h >= 0 && h + WINDOW_ROWS <= p.H && w >= 0 && w + WINDOW_COLUMNS <= p.W &&
                      row + ROWS <= p.P && q + COLUMNS <= p.Q;
  const bool aligned = VECTOR == 1 || (p.x_alignment == 4 && p.y_alignment == 4);
  if (!aligned) {
#pragma unroll 1
    for (int v = 0; v < VECTOR; ++v)
      block_of_outputs<1, false>(x, packed, bias, y, p, n, k + v, row, q);
  } else if (inside) {
    block_of_outputs<VECTOR, true>(x, packed, bias, y, p, n, k, row, q);
  } else {
    block_of_outputs<VECTOR, false>(x, packed, bias, y, p, n, k, row, q);
  }
}
