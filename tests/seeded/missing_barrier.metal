// SPDX-License-Identifier: Apache-2.0
// Reads a neighbour's value; with BUG, perhaps when the neighbour has written its next.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint size [[threads_per_threadgroup]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[128];
  float sum = 0.0f;
  for (uint round = 0; round < 2; ++round) {
    values[t] = x[group * size + t] * float(round + 1);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sum += values[(t + 33) % size];  // SEEDED
#ifndef BUG
    threadgroup_barrier(mem_flags::mem_threadgroup);
#endif
  }
  y[group * size + t] = sum;
}
