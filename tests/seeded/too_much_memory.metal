// SPDX-License-Identifier: Apache-2.0
// With BUG, two arrays that fit alone exceed threadgroup memory together.
#include <metal_stdlib>
using namespace metal;

#ifdef BUG
#define ROOM 4100
#else
#define ROOM 4096
#endif

kernel void seeded(device const float* x [[buffer(0)]],
                   device float* y [[buffer(1)]],
                   uint i [[thread_position_in_grid]],
                   uint t [[thread_index_in_threadgroup]]) {
  threadgroup float first[4096];
  threadgroup float second[ROOM];  // SEEDED
  first[t] = x[i];
  second[t] = first[t];
  y[i] = second[t];
}
