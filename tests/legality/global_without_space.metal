// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static int counter;         // illegal: global-space
constant int counter = 1;   // legal
kernel void k(device int* x [[buffer(0)]]) { x[0] = counter; }
