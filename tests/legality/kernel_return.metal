// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel int k(    // illegal: kernel-return
kernel void k(   // legal
    device float* x [[buffer(0)]]) {
  x[0] = 1.0f;
}
