// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  threadgroup float t = 1.0f;  // illegal: threadgroup-initialiser
  threadgroup float t;         // legal
  t = 2.0f;
  x[0] = t;
}
