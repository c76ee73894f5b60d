// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

constexpr int tile = 8;           // illegal: global-space
constexpr constant int tile = 8;  // legal
kernel void k(device int* x [[buffer(0)]]) { x[0] = tile; }
