// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  float v = 0.0f;
  thread float* p = &v;
  p = x;   // illegal: address-space
  p = &v;  // legal
  x[0] = *p;
}
