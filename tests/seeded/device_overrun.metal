// SPDX-License-Identifier: Apache-2.0
// With BUG, writes one element behind the output.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   constant uint& count [[buffer(2)]],
                   uint i [[thread_position_in_grid]]) {
#ifdef BUG
  if (i > count) return;
#else
  if (i >= count) return;
#endif
  const float value = i < count ? x[i] : 0.0f;
  y[i] = value;  // SEEDED
}
