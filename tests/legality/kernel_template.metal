// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

template <class T>  // illegal
kernel void k(      // illegal: kernel-template
kernel void k(      // legal
    device float* x [[buffer(0)]]) {
  x[0] = 1.0f;
}
