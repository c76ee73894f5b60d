// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]], constant int& n [[buffer(1)]]) {
  float a[n];  // illegal: no-vla
  float a[4];  // legal
  a[0] = x[0];
  x[0] = a[0] + float(n);
}
