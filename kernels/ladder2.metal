// SPDX-License-Identifier: Apache-2.0
// Rung 2: rung 1, with the weights of 16 output channels at a time in threadgroup memory, so that
// device memory sees each of them once a threadgroup and not once a thread.
#include "ladder.h"

enum { BLOCK = 16 };

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void ladder2(device const elem* x [[buffer(0)]],
             device const float* w [[buffer(1)]],  // K, C, R, S
             device const elem* bias [[buffer(2)]],
             device elem* y [[buffer(3)]],
             constant ConvParams& p [[buffer(4)]],
             uint3 group [[threadgroup_position_in_grid]],
             uint3 groups [[threadgroups_per_grid]],
             uint t [[thread_index_in_threadgroup]]) {
  threadgroup float weights[BLOCK * TAPS];
  const Pixel at = pixel_of(group_number(group, groups) * THREADS + int(t), 1, 1, p);
  float window[TAPS];
#pragma unroll
  for (int i = 0; i < TAPS; ++i) {
    const int c = i / (KERNEL_H * KERNEL_W), r = i / KERNEL_W % KERNEL_H, s = i % KERNEL_W;
    window[i] = input_at(x, p, at.n, c, at.row, at.column, r, s);
  }
  for (int k0 = 0; k0 < p.K; k0 += BLOCK) {
    const int channels = p.K - k0 < BLOCK ? p.K - k0 : BLOCK;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = int(t); i < channels * TAPS; i += THREADS) weights[i] = w[index(k0) * TAPS + i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (at.n >= p.N) continue;  // only now: a barrier waits for every thread
    for (int k = 0; k < channels; ++k) {
      float sum = bias_of(bias, p, k0 + k);
#pragma unroll
      for (int i = 0; i < TAPS; ++i) sum = fma(weights[k * TAPS + i], window[i], sum);
      y[y_offset(p, at, k0 + k)] = elem(activate(sum));
    }
  }
}
