// SPDX-License-Identifier: Apache-2.0
// Weights in the order that MPSGraph takes: K, C/groups, R, S as they are (OIHW) or, for HWIO,
// R, S, C/groups, K. ELEMENT is an unsigned integer of the weights' size: bits are moved.
#include <metal_stdlib>
using namespace metal;

struct Weights {
  uint K, C, R, S;  // C of one group
};

kernel void vendor_pack(device const ELEMENT* w [[buffer(0)]], device ELEMENT* packed [[buffer(1)]],
                        constant Weights& size [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  const uint area = size.R * size.S;
  if (i >= size.K * size.C * area) {
    return;
  }
#if HWIO
  const uint k = i / (size.C * area);
  const uint c = i / area % size.C;
  packed[(i % area * size.C + c) * size.K + k] = w[i];
#else
  packed[i] = w[i];
#endif
}
