// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

constant int rows [[function_constant(0)]];  // illegal: function-constant
constant int rows = 4;                       // legal
kernel void k(device float* x [[buffer(0)]]) { x[0] = float(rows); }
