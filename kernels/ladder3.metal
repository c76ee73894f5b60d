// SPDX-License-Identifier: Apache-2.0
// Rung 3: rung 2, with four neighbouring pixels a thread: a weight serves four products, and the
// four outputs leave in one store.
#include "ladder.h"

enum { BLOCK = 16, PIXELS = 4 };

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void ladder3(device const elem* x [[buffer(0)]],
             device const float* w [[buffer(1)]],  // K, C, R, S
             device const elem* bias [[buffer(2)]],
             device elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint t [[thread_index_in_threadgroup]]) {
  threadgroup float weights[BLOCK * TAPS];
  const Pixel at = pixel_of(group_number(group, groups) * THREADS + int(t), PIXELS, 1, p);
  // Stride and dilation are 1: the windows of neighbours overlap.
  float window[CHANNELS][KERNEL_H][KERNEL_W + PIXELS - 1];
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll
    for (int r = 0; r < KERNEL_H; ++r) {
#pragma unroll
      for (int s = 0; s < KERNEL_W + PIXELS - 1; ++s) {
        window[c][r][s] = input_at(x, p, at.n, c, at.row, at.column, r, s);
      }
    }
  }
  for (int k0 = 0; k0 < p.K; k0 += BLOCK) {
    const int channels = p.K - k0 < BLOCK ? p.K - k0 : BLOCK;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = int(t); i < channels * TAPS; i += THREADS) weights[i] = w[index(k0) * TAPS + i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (at.n >= p.N) continue;
    for (int k = 0; k < channels; ++k) {
      const float b = bias_of(bias, p, k0 + k);
      float sums[PIXELS] = {b, b, b, b};
#pragma unroll
      for (int i = 0; i < TAPS; ++i) {
        const int c = i / (KERNEL_H * KERNEL_W), r = i / KERNEL_W % KERNEL_H, s = i % KERNEL_W;
        const float weight = weights[k * TAPS + i];
#pragma unroll
        for (int q = 0; q < PIXELS; ++q) sums[q] = fma(weight, window[c][r][s + q], sums[q]);
      }
#pragma unroll
      for (int q = 0; q < PIXELS; ++q) sums[q] = activate(sums[q]);
      store(y + y_offset(p, at, k0 + k), sums, p.Q - at.column, store_width(p, p.Q));
    }
  }
}
