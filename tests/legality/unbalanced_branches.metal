// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
#ifdef WIDE
  if (x[0] < 0.0f) {  // illegal
  x[1] = 1.0f;
#endif                // illegal: directive
#endif                // legal
  x[0] = 1.0f;
  }  // illegal
}
