// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float4* x [[buffer(0)]]) {
  x[0] = float4(1.0f, 2.0f, 3.0f, 4.0f, 5.0f);  // illegal: clang
  x[0] = float4(1.0f, 2.0f, 3.0f, 4.0f);        // legal
}
