// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]],
              int n [[buffer(1)]]            // illegal: kernel-parameter
              constant int& n [[buffer(1)]]  // legal
) {
  x[0] = float(n);
}
