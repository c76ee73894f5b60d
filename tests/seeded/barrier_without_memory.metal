// SPDX-License-Identifier: Apache-2.0
// With BUG, the barrier orders execution but not memory.
#include <metal_stdlib>
using namespace metal;

#ifdef BUG
#define ORDERED mem_flags::mem_none
#else
#define ORDERED mem_flags::mem_threadgroup
#endif

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint size [[threads_per_threadgroup]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[128];
  values[t] = x[group * size + t];
  threadgroup_barrier(ORDERED);
  y[group * size + t] = values[size - 1 - t];  // SEEDED
}
