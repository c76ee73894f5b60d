// SPDX-License-Identifier: Apache-2.0
// Rung 1: a thread makes one pixel of every output channel. Its window of the input stays in
// registers, read once instead of K times; a weight is still loaded for every product.
#include "ladder.h"

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void ladder1(device const elem* x [[buffer(0)]],
             device const float* w [[buffer(1)]],  // K, C, R, S
             device const elem* bias [[buffer(2)]],
             device elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint t [[thread_index_in_threadgroup]]) {
  const Pixel at = pixel_of(group_number(group, groups) * THREADS + int(t), 1, 1, p);
  if (at.n >= p.N) return;
  float window[TAPS];
#pragma unroll
  for (int i = 0; i < TAPS; ++i) {
    const int c = i / (KERNEL_H * KERNEL_W), r = i / KERNEL_W % KERNEL_H, s = i % KERNEL_W;
    window[i] = input_at(x, p, at.n, c, at.row, at.column, r, s);
  }
  for (int k = 0; k < p.K; ++k) {
    device const float* weight = w + index(k) * TAPS;
    float sum = bias_of(bias, p, k);
#pragma unroll
    for (int i = 0; i < TAPS; ++i) sum = fma(weight[i], window[i], sum);
    y[y_offset(p, at, k)] = elem(activate(sum));
  }
}
