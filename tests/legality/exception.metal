// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  if (x[0] < 0.0f) throw 1;  // illegal: no-exceptions
  if (x[0] < 0.0f) return;   // legal
  x[0] = 1.0f;
}
