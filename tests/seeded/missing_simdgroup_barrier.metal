// SPDX-License-Identifier: Apache-2.0
// Exchanges values inside a simdgroup through threadgroup memory. A shuffle between write and read
// keeps the lanes in step, and orders no memory.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint size [[threads_per_threadgroup]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[128];
  values[t] = x[group * size + t];
#ifdef BUG
  values[t] = simd_shuffle_xor(values[t], ushort(0));
#else
  simdgroup_barrier(mem_flags::mem_threadgroup);
#endif
  y[group * size + t] = values[t ^ 1u];  // SEEDED
}
