// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static void set(
    float* p         // illegal: missing-space
    device float* p  // legal
);
kernel void k(device float* x [[buffer(0)]]) { x[0] = 1.0f; }
