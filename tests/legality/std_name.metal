// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  x[0] = std::sqrt(x[0]);    // illegal: no-std
  x[0] = metal::sqrt(x[0]);  // legal
}
