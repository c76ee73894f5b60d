// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static void set(thread float& v) { v = 1.0f; }
kernel void k(device float* x [[buffer(0)]]) {
  float v;
  set(x[0]);  // illegal: address-space
  set(v);     // legal
  x[0] = v;
}
