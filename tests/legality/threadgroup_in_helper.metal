// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static float first(device const float* x) {
  threadgroup float t[4];  // illegal: threadgroup-scope
  float t[4];              // legal
  t[0] = x[0];
  return t[0];
}
kernel void k(device float* x [[buffer(0)]]) { x[0] = first(x); }
