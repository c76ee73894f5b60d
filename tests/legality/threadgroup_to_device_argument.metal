// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static void set(device float* p) { *p = 1.0f; }
kernel void k(device float* x [[buffer(0)]]) {
  threadgroup float t[4];
  t[0] = 0.0f;
  set(t);  // illegal: address-space
  set(x);  // legal
}
