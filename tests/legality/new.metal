// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  device float* p = new float;  // illegal: no-new
  device float* p = x;          // legal
  *p = 1.0f;
}
