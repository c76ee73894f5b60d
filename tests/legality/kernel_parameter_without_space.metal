// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(
    float* x [[buffer(0)]]         // illegal: missing-space
    device float* x [[buffer(0)]]  // legal
) {
  x[0] = 1.0f;
}
