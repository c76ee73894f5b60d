// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

#include <cmath>       // illegal: std-header
#include <metal_math>  // legal
kernel void k(device float* x [[buffer(0)]]) { x[0] = 1.0f; }
