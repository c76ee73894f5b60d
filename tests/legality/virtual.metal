// SPDX-License-Identifier: Apache-2.0
#include <metal_stdlib>
using namespace metal;

struct Shape {
  virtual int sides() { return 4; }  // illegal: no-virtual
  int sides() { return 4; }          // legal
};
kernel void k(device int* x [[buffer(0)]]) {
  Shape s;
  x[0] = s.sides();
}
