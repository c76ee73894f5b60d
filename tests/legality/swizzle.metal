// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float4* x [[buffer(0)]]) {
  const float2 v = x[0].xy;                  // illegal: one-component
  const float2 v = float2(x[0].x, x[0].y);   // legal
  x[1] = float4(v, v);
}
