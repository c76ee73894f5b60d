// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  long long n = 1;  // illegal: no-long-long
  long n = 1;       // legal
  x[0] = float(n);
}
