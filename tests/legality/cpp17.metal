// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  if constexpr (sizeof(float) == 4) x[0] = 1.0f;  // illegal: cpp14
  if (sizeof(float) == 4) x[0] = 1.0f;            // legal
}
