// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

kernel void k(device float* x [[buffer(0)]],
              int i [[thread_position_in_grid]]   // illegal: builtin-type
              uint i [[thread_position_in_grid]]  // legal
) {
  x[i] = 1.0f;
}
