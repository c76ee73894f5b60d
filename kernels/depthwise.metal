// SPDX-License-Identifier: Apache-2.0
// One input channel a group. A thread makes ROWS x COLUMNS outputs of VECTOR channels. It reads
// their window row by row, so that each input in registers serves all outputs that need it.
// Neighbouring lanes take neighbours in memory: columns in NCHW, channels in NHWC.
//
// What lies outside is read from the nearest place inside and becomes 0, without a branch: with one
// the loads of a warp's inner lanes would wait for those of its outer ones. SKIP branches over rows
// that lie outside, for warps whose lanes are of one row; no load passes it, which takes fewer
// registers.
//
// Macros beside those of conv.h: KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W,
// PAD_LEFT; CHANNELS, of the input, and MULTIPLIER, outputs for each, so that columns are at
// constant distances; ROWS, COLUMNS; UNROLL, the rows of the window that are unrolled; SKIP;
// VECTOR, the channels of a thread, 1 or, in NHWC with as many outputs as inputs in multiples of 4,
// 4; LOAD_COLUMNS, of a load, 1 or, in NCHW, 2 or 4, divides W and COLUMNS * STRIDE_W;
// STORE_COLUMNS likewise Q and COLUMNS; THREADS.
#include "conv.h"

enum {
  WINDOW_ROWS = (ROWS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1,
  WINDOW_COLUMNS = (COLUMNS - 1) * STRIDE_W + (KERNEL_W - 1) * DILATION_W + 1,
  // Elements from a column to the next.
  X_COLUMN = NHWC ? CHANNELS : 1,
  Y_COLUMN = NHWC ? CHANNELS * MULTIPLIER : 1,
};

// The tap under which output i reads a row (or column) of the window, or -1.
template <int STRIDE, int DILATION, int TAPS>
static inline int tap_of(int place, int i) {
  const int from = place - i * STRIDE;
  return from >= 0 && from % DILATION == 0 && from / DILATION < TAPS ? from / DILATION : -1;
}

// Whether one of a thread's outputs reads that row (or column). Decided while unrolling, for which
// the compiler must know the number of outputs before it inlines.
template <int OUTPUTS, int STRIDE, int DILATION, int TAPS>
static inline bool is_read(int place) {
  bool read = false;
#pragma unroll
  for (int i = 0; i < OUTPUTS; ++i) read |= tap_of<STRIDE, DILATION, TAPS>(place, i) >= 0;
  return read;
}

// Where a channel's weight for a tap lies: channels follow each other as lanes do.
static inline index weight_at(int k, int tap, constant ConvParams& p) {
  return NHWC ? index(tap) * p.K + k : index(k) * (KERNEL_H * KERNEL_W) + tap;
}

// Neighbours in memory, aligned to their number.
template <class T>
static inline void fetch(thread float (&to)[1], device const T* from) {
  to[0] = float(from[0]);
}
template <class T>
static inline void fetch(thread float (&to)[2], device const T* from) {
  const vec<T, 2> values = *(device const vec<T, 2>*)from;
  to[0] = float(values.x);
  to[1] = float(values.y);
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
static inline void put(device elem* to, thread const float (&from)[2]) {
  *(device elem2*)to = elem2(elem(from[0]), elem(from[1]));
}
static inline void put(device elem* to, thread const float (&from)[4]) { store_vector(to, from); }

// A row of the window, from column w of the image on, by loads of LOAD columns of LANES channels.
template <int LANES, int LOAD>
static inline void fetch_row(thread float (&window)[WINDOW_COLUMNS][LANES], device const elem* row,
                             bool exists, int w, constant ConvParams& p) {
  enum { BEFORE = (LOAD - PAD_LEFT % LOAD) % LOAD };  // columns of the first load before w
#pragma unroll
  for (int from = -BEFORE; from < WINDOW_COLUMNS; from += LOAD) {
    bool read = false;
#pragma unroll
    for (int u = 0; u < LOAD; ++u)
      read |= is_read<COLUMNS, STRIDE_W, DILATION_W, KERNEL_W>(from + u);
    if (!read) continue;
    const bool inside = exists & (uint(w + from) < uint(p.W));  // && would become a branch
    const int column = clamp(w + from, 0, p.W - LOAD);
    float values[LOAD * LANES];
    fetch(values, row + column * index(X_COLUMN));
#pragma unroll
    for (int u = 0; u < LOAD; ++u) {
      if (from + u < 0 || from + u >= WINDOW_COLUMNS) continue;
#pragma unroll
      for (int v = 0; v < LANES; ++v) window[from + u][v] = inside ? values[u * LANES + v] : 0.0f;
    }
  }
}

// A row of outputs, of which `count` exist, by stores of STORE columns of LANES channels.
template <int LANES, int STORE>
static inline void put_row(device elem* y, thread const float (&row)[COLUMNS][LANES], int count) {
#pragma unroll
  for (int j = 0; j < COLUMNS; j += STORE) {
    float values[STORE * LANES];
#pragma unroll
    for (int i = 0; i < STORE * LANES; ++i) values[i] = activate(row[j + i / LANES][i % LANES]);
    if (j < count) put(y + j * Y_COLUMN, values);
  }
}

// ROWS x COLUMNS outputs of LANES channels from k on.
template <int LANES, int LOAD, int STORE>
static inline void block_of_outputs(device const elem* x, device const float* packed,
                                    device const elem* bias, device elem* y, constant ConvParams& p,
                                    int n, int k, int row, int q) {
  float sums[ROWS][COLUMNS][LANES];
#pragma unroll
  for (int i = 0; i < ROWS * COLUMNS; ++i) {
#pragma unroll
    for (int v = 0; v < LANES; ++v) sums[i / COLUMNS][i % COLUMNS][v] = bias_of(bias, p, k + v);
  }
  const int h = row * STRIDE_H - p.pad_top, w = q * STRIDE_W - p.pad_left;
  device const elem* plane = x + (x_image(p, n) + x_channel(p, k / MULTIPLIER));
#pragma unroll UNROLL
  for (int i = 0; i < WINDOW_ROWS; ++i) {
    if (!is_read<ROWS, STRIDE_H, DILATION_H, KERNEL_H>(i)) continue;
    const bool exists = uint(h + i) < uint(p.H);
    if (SKIP && !exists) continue;
    float window[WINDOW_COLUMNS][LANES];
    fetch_row<LANES, LOAD>(window, plane + clamp(h + i, 0, p.H - 1) * x_row(p), exists, w, p);
#pragma unroll
    for (int o = 0; o < ROWS; ++o) {
      const int r = tap_of<STRIDE_H, DILATION_H, KERNEL_H>(i, o);
      if (r < 0) continue;
#pragma unroll
      for (int s = 0; s < KERNEL_W; ++s) {
        float weights[LANES];
        fetch(weights, packed + weight_at(k, r * KERNEL_W + s, p));
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
#pragma unroll
          for (int v = 0; v < LANES; ++v)
            sums[o][j][v] =
                fma(weights[v], window[j * STRIDE_W + s * DILATION_W][v], sums[o][j][v]);
        }
      }
    }
  }
  device elem* to = y + (y_image(p, n) + y_channel(p, k) + row * y_row(p) + q * index(Y_COLUMN));
#pragma unroll
  for (int o = 0; o < ROWS; ++o) {
    if (row + o < p.P) put_row<LANES, STORE>(to + o * y_row(p), sums[o], p.Q - q);
  }
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]] void depthwise(
    device const elem* x [[buffer(0)]], device const float* packed [[buffer(1)]],
    device const elem* bias [[buffer(2)]], device elem* y [[buffer(3)]],
    constant ConvParams& p [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
    uint3 groups [[threadgroups_per_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
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
  if (n >= p.N) return;  // the grid may hold more threads than there are blocks
  if (p.x_alignment >= VECTOR * LOAD_COLUMNS && p.y_alignment >= VECTOR * STORE_COLUMNS) {
    block_of_outputs<VECTOR, LOAD_COLUMNS, STORE_COLUMNS>(x, packed, bias, y, p, n, k, row, q);
  } else {
#pragma unroll 1
    for (int v = 0; v < VECTOR; ++v)
      block_of_outputs<1, 1, 1>(x, packed, bias, y, p, n, k + v, row, q);
  }
}
