// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  float threadgroup t[4];  // illegal: syntax
  threadgroup float t[4];  // legal
  t[0] = x[0];
}
