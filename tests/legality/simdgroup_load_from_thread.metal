// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]]) {
  float t[64];
  t[0] = 0.0f;
  simdgroup_matrix<float, 8, 8> a;
  simdgroup_load(a, t);  // illegal: address-space
  simdgroup_load(a, x);  // legal
  simdgroup_store(a, x + 64);
}
