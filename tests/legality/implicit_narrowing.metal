// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device half* h [[buffer(0)]], device const float* x [[buffer(1)]]) {
  h[0] = x[0];        // illegal: implicit-narrowing
  h[0] = half(x[0]);  // legal
}
