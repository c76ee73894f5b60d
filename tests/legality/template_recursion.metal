// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

template <class T>
static T sum(T n) {  // rejected: no-recursion
  return n == T(0) ? T(0) : n + sum(n - 1);  // illegal
  return n * (n + T(1)) / T(2);              // legal
}
kernel void k(device int* x [[buffer(0)]]) { x[0] = sum(5); }
