// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  float v = 0.0f;
  float* p = &v;         // illegal: missing-space
  thread float* p = &v;  // legal
  x[0] = *p;
}
