// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

#define ELEMENT double  // illegal: no-double
#define ELEMENT float   // legal
kernel void k(device float* x [[buffer(0)]]) { x[0] = float(ELEMENT(1)); }
