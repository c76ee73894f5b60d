// SPDX-License-Identifier: Apache-2.0
// Small windows (1x1, 3x3): a thread keeps its window of every input channel in registers and goes
// through the output channels; CHANNELS is all of them. Where threads share a window (LANES_K > 1)
// it passes through threadgroup memory; else each reads its own, which caches serve.
#include "direct.h"

[[kernel, max_total_threads_per_threadgroup(LANES_K * LANES_X * LANES_Y)]]
void direct(device const elem* x [[buffer(0)]],
            device const float* packed [[buffer(1)]],  // blocks of 4 QUADS channels
            device const elem* bias [[buffer(2)]],
            device elem* y [[buffer(3)]],
            constant ConvParams& p [[buffer(4)]],
            uint3 group [[threadgroup_position_in_grid]],
            uint3 groups [[threadgroups_per_grid]],
            uint thread_index [[thread_index_in_threadgroup]]) {
#if LANES_K > 1
  threadgroup float4 tile[TILE_FLOATS / 4];
#endif
  threadgroup float4 weights[CHANNELS * TAPS * QUADS];
  const int t = int(thread_index);
  const Place at = place_of(group_number(group, groups), t, p);
  if (at.n >= p.N) return;  // the grid may hold more threadgroups than there are tiles
#if LANES_K > 1
  stage_tile(tile, x, at, 0, t, p);
#endif
  stage_weights(weights, packed, index(at.k / 4) * (CHANNELS * TAPS), t);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (at.row >= p.P || at.column >= p.Q) return;

  float window[CHANNELS][WINDOW_ROWS][WINDOW_COLUMNS];
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
    for (int row = 0; row < WINDOW_ROWS; ++row) {
#if LANES_K > 1
      const int line = c * TILE_ROWS + at.lane_y * ROWS * STRIDE_H + row;
      load_row(window[c][row], tile + (line * (TILE_COLUMNS / 4) + at.lane_x * STRIDE_W));
#else
      read_row(window[c][row], x + (x_image(p, at.n) + x_channel(p, c)),
               at.row * STRIDE_H - p.pad_top + row, at.column * STRIDE_W - p.pad_left, p);
#endif
    }
  }
#pragma unroll 1
  for (int quad = at.lane_k; quad < QUADS; quad += LANES_K) {
    const int k = at.k + 4 * quad;
    if (k >= p.K) break;
    float sums[ROWS][4][PIXELS];
    begin_sums(sums, bias, k, p);
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
      for (int r = 0; r < KERNEL_H; ++r) {
#pragma unroll
        for (int s = 0; s < KERNEL_W; ++s) {
          const float4 weight = weights[(c * TAPS + r * KERNEL_W + s) * QUADS + quad];
#pragma unroll
          for (int row = 0; row < ROWS; ++row) {
            add_tap(sums[row], weight, window[c][row * STRIDE_H + r * DILATION_H], s * DILATION_W);
          }
        }
      }
    }
    store_sums(y, sums, k, at, p);
  }
}
