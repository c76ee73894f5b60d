// SPDX-License-Identifier: Apache-2.0
// With BUG, the lanes of one simdgroup take part in different simdgroup operations.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint i [[thread_position_in_grid]],
                   uint lane [[thread_index_in_simdgroup]]) {
#ifdef BUG
  const bool low = lane < 16;
#else
  const bool low = lane < 32;
#endif
  float sum = 0.0f;
  if (low) {
    sum = simd_sum(x[i]);  // SEEDED
  } else {
    sum = simd_max(x[i]);
  }
  y[i] = sum;
}
