// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(constant float* c [[buffer(0)]], device float* x [[buffer(1)]]) {
  c[0] = 1.0f;  // illegal: const-write
  x[0] = c[0];  // legal
}
