// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device int* x [[buffer(0)]]) {
  static int n = 0;  // illegal: global-space
  int n = 0;         // legal
  x[0] = ++n;
}
