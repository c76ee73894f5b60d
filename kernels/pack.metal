// SPDX-License-Identifier: Apache-2.0
// Weights into the blocks that PackParams describes. A thread makes one of the packed numbers.
#include <metal_stdlib>
using namespace metal;
#include "params.h"

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void pack(device const ELEM* w [[buffer(0)]],
          device float* packed [[buffer(1)]],
          constant PackParams& p [[buffer(2)]],
          uint3 group [[threadgroup_position_in_grid]],
          uint3 groups [[threadgroups_per_grid]],
          uint t [[thread_index_in_threadgroup]]) {
  const INDEX i = (INDEX(group.y) * INDEX(groups.x) + INDEX(group.x)) * THREADS + int(t);
  const int reduction = p.padded_channels * p.taps;
  const int blocks = (p.K + p.block - 1) / p.block;  // of a group
  if (i >= INDEX(p.groups) * blocks * reduction * p.block) return;
  const int e = int(i / p.block % reduction), block = int(i / p.block / reduction);
  const int k = block % blocks * p.block + int(i % p.block);
  const int c = p.taps_first ? e % p.padded_channels : e / p.taps;
  const int tap = p.taps_first ? e / p.padded_channels : e % p.taps;
  const bool exists = k < p.K && c < p.C;
  const INDEX from = ((INDEX(block / blocks) * p.K + k) * p.C + c) * p.taps + tap;
  packed[i] = exists ? float(w[from]) : 0.0f;
}
