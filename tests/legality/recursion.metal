// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static int sum(int n) {  // rejected: no-recursion
  return n == 0 ? 0 : n + sum(n - 1);  // illegal
  return n * (n + 1) / 2;              // legal
}
kernel void k(device int* x [[buffer(0)]]) { x[0] = sum(5); }
