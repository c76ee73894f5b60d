// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

struct Pair {
  float a, b;
  float sum() const { return a + b; }
};
kernel void k(device Pair* s [[buffer(0)]], device float* x [[buffer(1)]]) {
  Pair p;
  p.a = s->a;
  p.b = s->b;
  x[0] = s->sum();  // illegal: address-space
  x[0] = p.sum();   // legal
}
