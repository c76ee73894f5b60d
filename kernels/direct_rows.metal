// SPDX-License-Identifier: Apache-2.0
// Large windows (5x5 and more): a thread keeps the sums of one quadruple of channels (QUADS is
// LANES_K) and loads the rows of its window again for each row of taps.
#include "direct.h"

[[kernel, max_total_threads_per_threadgroup(LANES_K * LANES_X * LANES_Y)]]
void direct_rows(device const elem* x [[buffer(0)]],
                 device const float* packed [[buffer(1)]],  // blocks of 4 QUADS channels
                 device const elem* bias [[buffer(2)]],
                 device elem* y [[buffer(3)]],
                 constant ConvParams& p [[buffer(4)]],
                 uint3 group [[threadgroup_position_in_grid]],
                 uint3 groups [[threadgroups_per_grid]],
                 uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float4 tile[TILE_FLOATS / 4];
  threadgroup float4 weights[CHANNELS * TAPS * QUADS];
  const int t = int(thread_index);
  const Place at = place_of(group_number(group, groups), t, p);
  if (at.n >= p.N) return;  // the grid may hold more threadgroups than there are tiles
  const int k = at.k + 4 * at.lane_k;
  float sums[ROWS][4][PIXELS];
  begin_sums(sums, bias, k, p);
  for (int c0 = 0; c0 < p.C; c0 += CHANNELS) {
    if (c0 > 0) threadgroup_barrier(mem_flags::mem_threadgroup);
    stage_tile(tile, x, at, c0, t, p);
    stage_weights(weights, packed, (index(at.k / 4) * p.C + c0 * QUADS) * TAPS, t);
    threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll 1
    for (int c = 0; c < CHANNELS; ++c) {
      threadgroup const float4* window =
          tile + ((c * TILE_ROWS + at.lane_y * ROWS * STRIDE_H) * (TILE_COLUMNS / 4) +
                  at.lane_x * STRIDE_W);
      threadgroup const float4* weight = weights + (c * TAPS * QUADS + at.lane_k);
#pragma unroll 1
      for (int r = 0; r < KERNEL_H; ++r) {
        float rows[ROWS][WINDOW_COLUMNS];
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
          load_row(rows[row], window + row * STRIDE_H * (TILE_COLUMNS / 4));
        }
#pragma unroll
        for (int s = 0; s < KERNEL_W; ++s) {
#pragma unroll
          for (int row = 0; row < ROWS; ++row) {
            add_tap(sums[row], weight[s * QUADS], rows[row], s * DILATION_W);
          }
        }
        window += DILATION_H * (TILE_COLUMNS / 4);
        weight += KERNEL_W * QUADS;
      }
    }
  }
  if (k < p.K && at.row < p.P && at.column < p.Q) store_sums(y, sums, k, at, p);
}
