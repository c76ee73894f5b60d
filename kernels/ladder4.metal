// SPDX-License-Identifier: Apache-2.0
// Rung 4: rung 3, with two rows and four output channels at a time: the weights of four channels
// come in one load, which serves 32 products, and 32 independent sums hide the latency of each.
// What is left for `direct`: tiles to suit the device, every kernel size, stride and layout.
#include "ladder.h"

enum { BLOCK = 4, QUADS = 4, PIXELS = 4, ROWS = 2 };

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void ladder4(device const elem* x [[buffer(0)]],
             device const float* w [[buffer(1)]],  // blocks of 4 output channels: [tap][channel]
             device const elem* bias [[buffer(2)]],
             device elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint t [[thread_index_in_threadgroup]]) {
  threadgroup float4 weights[QUADS * TAPS];
  const Pixel at = pixel_of(group_number(group, groups) * THREADS + int(t), PIXELS, ROWS, p);
  float window[CHANNELS][KERNEL_H + ROWS - 1][KERNEL_W + PIXELS - 1];
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
    for (int r = 0; r < KERNEL_H + ROWS - 1; ++r) {
#pragma unroll
      for (int s = 0; s < KERNEL_W + PIXELS - 1; ++s) {
        window[c][r][s] = input_at(x, p, at.n, c, at.row, at.column, r, s);
      }
    }
  }
  for (int k0 = 0; k0 < p.K; k0 += BLOCK * QUADS) {
    const int left = (p.K - k0 + BLOCK - 1) / BLOCK, quads = left < QUADS ? left : QUADS;
    device const float4* from = (device const float4*)w + index(k0 / BLOCK) * TAPS;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = int(t); i < quads * TAPS; i += THREADS) weights[i] = from[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (at.n >= p.N) continue;
    for (int quad = 0; quad < quads; ++quad) {
      const int k = k0 + quad * BLOCK;
      float sums[BLOCK][ROWS][PIXELS];
#pragma unroll
      for (int i = 0; i < BLOCK; ++i) {
        const float b = bias_of(bias, p, k + i);
#pragma unroll
        for (int j = 0; j < ROWS * PIXELS; ++j) sums[i][j / PIXELS][j % PIXELS] = b;
      }
#pragma unroll
      for (int tap = 0; tap < TAPS; ++tap) {
        const int c = tap / (KERNEL_H * KERNEL_W), r = tap / KERNEL_W % KERNEL_H;
        const int s = tap % KERNEL_W;
        const float4 four = weights[quad * TAPS + tap];
        const float weight[BLOCK] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int i = 0; i < BLOCK; ++i) {
#pragma unroll
          for (int j = 0; j < ROWS * PIXELS; ++j) {
            sums[i][j / PIXELS][j % PIXELS] =
                fma(weight[i], window[c][r + j / PIXELS][s + j % PIXELS],
                    sums[i][j / PIXELS][j % PIXELS]);
          }
        }
      }
#pragma unroll
      for (int i = 0; i < BLOCK; ++i) {
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
          if (k + i >= p.K || at.row + row >= p.P) continue;
#pragma unroll
          for (int q = 0; q < PIXELS; ++q) sums[i][row][q] = activate(sums[i][row][q]);
          store(y + y_offset(p, at, k + i) + row * y_row(p), sums[i][row], p.Q - at.column,
                store_width(p, p.Q));
        }
      }
    }
  }
}
