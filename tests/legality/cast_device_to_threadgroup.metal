// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  threadgroup float t[4];
  threadgroup float2* p = (threadgroup float2*)x;  // illegal: address-space-cast
  threadgroup float2* p = (threadgroup float2*)t;  // legal
  p[0] = float2(0.0f);
}
