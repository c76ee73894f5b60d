// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

#ifdef __METAL__  // illegal: target-macro
#ifdef WIDE       // legal
#endif
kernel void k(device float* x [[buffer(0)]]) { x[0] = 1.0f; }
