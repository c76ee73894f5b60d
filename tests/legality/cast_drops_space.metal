// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  float4 v = *(thread float4*)(x);  // illegal: address-space-cast
  float4 v = *(device float4*)(x);  // legal
  x[0] = v.x;
}
