// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]],
              device float* y [[buffer(0)]]  // illegal: buffer-index
              device float* y [[buffer(1)]]  // legal
) {
  x[0] = y[0];
}
