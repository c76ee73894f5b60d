// SPDX-License-Identifier: Apache-2.0
// With BUG, reads threadgroup memory that nobody has written: NaN on the emulator.
#include <metal_stdlib>
using namespace metal;

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint i [[thread_position_in_grid]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float values[128];
#ifdef BUG
  if (t != 7)
#endif
    values[t] = x[i];
  y[i] = values[t];  // SEEDED
}
