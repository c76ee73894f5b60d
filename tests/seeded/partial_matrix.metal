// SPDX-License-Identifier: Apache-2.0
// With BUG, some lanes have returned when the simdgroup loads a matrix.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint group [[threadgroup_position_in_grid]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]]) {
  const uint offset = (group * 4 + simdgroup) * 32;
#ifdef BUG
  if (lane == 31) return;
#else
  if (lane == 32) return;
#endif
  if (simdgroup % 2 == 1) return;
  simdgroup_float8x8 m;
  simdgroup_load(m, x + offset, 8);  // SEEDED
  simdgroup_store(m, y + offset, 8);
}
