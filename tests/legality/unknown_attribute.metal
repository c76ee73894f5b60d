// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(
    device float* x [[bufer(0)]]   // illegal: unknown-attribute
    device float* x [[buffer(0)]]  // legal
) {
  x[0] = 1.0f;
}
