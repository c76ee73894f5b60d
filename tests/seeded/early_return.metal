// SPDX-License-Identifier: Apache-2.0
// With BUG, threads behind the end return before a barrier that the others wait at.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   constant uint& count [[buffer(2)]],
                   uint i [[thread_position_in_grid]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[128];
#ifdef BUG
  if (i >= count) return;
#endif
  values[t] = i < count ? x[i] : 0.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);  // SEEDED
  if (i < count) y[i] = values[t];
}
