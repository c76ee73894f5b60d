// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static float twice(float a) { return a + a; }
kernel void k(device float* x [[buffer(0)]]) {
  const auto f = [](float a) { return a + a; };  // illegal: no-lambda
  const auto f = twice(x[0]);                    // legal
  x[0] = float(f);
}
