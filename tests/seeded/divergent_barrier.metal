// SPDX-License-Identifier: Apache-2.0
// With BUG, even and odd simdgroups wait at different barriers.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint i [[thread_position_in_grid]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
#ifdef BUG
  const bool odd = simdgroup % 2 == 1;
#else
  const bool odd = simdgroup > 31;
#endif
  if (odd) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);  // SEEDED
  }
  y[i] = x[i];
}
