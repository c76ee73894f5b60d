// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]],
#ifdef BIAS                                // illegal: directive
              device float* b [[buffer(1)]],
#endif                                     // illegal
              device float* y [[buffer(2)]]) {
  x[0] = y[0];
}
