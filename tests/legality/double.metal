// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  double d = x[0];  // illegal: no-double
  float d = x[0];   // legal
  x[0] = float(d);
}
