// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

#define SHARED threadgroup float  // illegal: directive
#define SHARED float              // legal
kernel void k(device float* x [[buffer(0)]]) {
  SHARED t[4];
  t[0] = x[0];
}
