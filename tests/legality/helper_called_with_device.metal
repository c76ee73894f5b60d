// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static void set(thread float* p) { *p = 1.0f; }
kernel void k(device float* x [[buffer(0)]]) {
  float v;
  set(x);   // illegal: address-space
  set(&v);  // legal
  x[0] = v;
}
