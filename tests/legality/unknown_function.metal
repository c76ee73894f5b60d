// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  x[0] = __shfl_down_sync(~0u, x[0], 1);     // illegal: unknown-name
  x[0] = simd_shuffle_down(x[0], ushort(1));  // legal
}
