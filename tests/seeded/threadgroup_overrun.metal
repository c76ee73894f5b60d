// SPDX-License-Identifier: Apache-2.0
// With BUG, writes one element behind an array in threadgroup memory.
#include <metal_stdlib>
using namespace metal;

#ifdef BUG
#define ROOM 127
#else
#define ROOM 128
#endif

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint size [[threads_per_threadgroup]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[ROOM];  // DECLARED
  threadgroup float* const slots = values;
  slots[t] = x[group * size + t];  // SEEDED
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[group * size + t] = slots[t < 127 ? t : 0];
}
