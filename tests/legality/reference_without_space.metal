// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

static float twice(
    const float& v         // illegal: missing-space
    thread const float& v  // legal
) {
  return v + v;
}
kernel void k(device float* x [[buffer(0)]]) {
  const float v = x[0];
  x[0] = twice(v);
}
