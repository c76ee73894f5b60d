// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  simdgroup_float8x8 m;
  simdgroup_load(m, x);
  const float v = m.thread_elements()[0];  // illegal: no-thread-elements
  const float v = x[0];                    // legal
  x[0] = v;
}
