// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(
    device float* x [[buffer(31)]]  // illegal: buffer-index
    device float* x [[buffer(30)]]  // legal
) {
  x[0] = 1.0f;
}
