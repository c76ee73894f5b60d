// SPDX-License-Identifier: Apache-2.0
// With BUG, reads one element behind the input.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   constant uint& count [[buffer(2)]],
                   uint i [[thread_position_in_grid]]) {
  if (i >= count) return;
  float next = 0.0f;
#ifndef BUG
  if (i + 1 < count)
#endif
    next = x[i + 1];  // SEEDED
  y[i] = next;
}
