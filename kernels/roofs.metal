// SPDX-License-Identifier: Apache-2.0
// The rates of the device, which no kernel can exceed. Bytes: a thread moves four float4s, which
// lie THREADS apart.
#include <metal_stdlib>
using namespace metal;
#include "params.h"

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void roof_write(device float4* y [[buffer(0)]], constant RoofParams& p [[buffer(1)]],
                uint group [[threadgroup_position_in_grid]],
                uint t [[thread_index_in_threadgroup]]) {
  device float4* to = y + (group * (4 * THREADS) + t);
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i * THREADS] = float4(p.value);
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void roof_read(device float4* x [[buffer(0)]], constant RoofParams& p [[buffer(1)]],
               uint group [[threadgroup_position_in_grid]],
               uint t [[thread_index_in_threadgroup]]) {
  device float4* from = x + (group * (4 * THREADS) + t);
  float4 sum = float4(0.0f);
#pragma unroll
  for (int i = 0; i < 4; ++i) sum += from[i * THREADS];
  // The host's value is no sum of what lies there, but no compiler knows.
  if (sum.x + sum.y + sum.z + sum.w == p.value) from[0] = sum;
}

// The lower half of the working set to the upper.
[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void roof_copy(device float4* x [[buffer(0)]], constant RoofParams& p [[buffer(1)]],
               uint group [[threadgroup_position_in_grid]], uint groups [[threadgroups_per_grid]],
               uint t [[thread_index_in_threadgroup]]) {
  device float4* from = x + (group * (4 * THREADS) + t);
  device float4* to = from + groups * (4 * THREADS);
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i * THREADS] = from[i * THREADS];
}

// 16 independent chains of 8 fused multiply-adds a round.
[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void roof_fma(device float4* y [[buffer(0)]], constant RoofParams& p [[buffer(1)]],
              uint t [[thread_position_in_grid]]) {
  float sums[16];
#pragma unroll
  for (int i = 0; i < 16; ++i) sums[i] = float(t) + float(i);
  for (int round = 0; round < p.rounds; ++round) {
#pragma unroll
    for (int step = 0; step < 8; ++step) {
#pragma unroll
      for (int i = 0; i < 16; ++i) sums[i] = fma(sums[i], 0.999f, p.value);
    }
  }
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 16; ++i) sum += sums[i];
  if (sum == p.value) y[0] = float4(sum);
}
