// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static int odd(int n);  // rejected: no-recursion
static int even(int n) {
  return n == 0 ? 1 : odd(n - 1);
}
static int odd(int n) {
  return n == 0 ? 0 : even(n - 1);  // illegal
  return n % 2;                     // legal
}
kernel void k(device int* x [[buffer(0)]]) { x[0] = even(5); }
