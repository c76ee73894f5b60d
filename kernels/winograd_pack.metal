// SPDX-License-Identifier: Apache-2.0
// Weights into the factors of F(SIDE x SIDE, 3x3): blocks of output channels, each [8 input
// channels][factor][8 output channels][output channel of these][input channel of those], with zeros
// for channels that do not exist. A thread makes the factors of one pair of channels.
// MATRICES 1: weights as they are, K, C/groups, once for each factor; the others follow the first.
// Macros: SIDE, 2 or 4; MATRICES; ELEM; INDEX; THREADS.
#include <metal_stdlib>
using namespace metal;
#include "params.h"

enum { DEPTH = 8, FACTORS = SIDE + 2 };

// One dimension, without its fractions: sums are exact where they can be.
static inline void transform_taps(float a, float b, float c, thread float (&factors)[FACTORS]) {
  factors[0] = a;
  factors[1] = a + c + b;
  factors[2] = a + c - b;
#if SIDE == 4
  factors[3] = a + 4.0f * c + 2.0f * b;
  factors[4] = a + 4.0f * c - 2.0f * b;
#endif
  factors[FACTORS - 1] = c;
}
static inline float fraction(int factor) {
#if SIDE == 2
  return factor == 0 || factor == 3 ? 1.0f : 0.5f;
#else
  return factor == 5 ? 1.0f : factor == 0 ? 0.25f : factor < 3 ? -1.0f / 6.0f : 1.0f / 24.0f;
#endif
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void winograd_pack(device const ELEM* w [[buffer(0)]],
                   device float* packed [[buffer(1)]],
                   constant PackParams& p [[buffer(2)]],
                   uint3 group [[threadgroup_position_in_grid]],
                   uint3 groups [[threadgroups_per_grid]],
                   uint t [[thread_index_in_threadgroup]]) {
  const INDEX i = (INDEX(group.y) * INDEX(groups.x) + INDEX(group.x)) * THREADS + int(t);
  const int blocks = (p.K + p.block - 1) / p.block;  // of a group
  if (i >= INDEX(p.groups) * blocks * p.block * p.padded_channels) return;
  const int in_block = int(i / DEPTH % p.block);
  const INDEX slab = i / DEPTH / p.block;  // of all groups and blocks
  const int block = int(slab / (p.padded_channels / DEPTH));
  const int k = block % blocks * p.block + in_block;
  const int c = int(slab % (p.padded_channels / DEPTH)) * DEPTH + int(i % DEPTH);
  float taps[3][3], half_way[3][FACTORS];
  const bool exists = k < p.K && c < p.C;
  const INDEX pair = exists ? (INDEX(block / blocks) * p.K + k) * p.C + c : 0;
  const INDEX from = pair * 9;
#pragma unroll
  for (int e = 0; e < 9; ++e) taps[e / 3][e % 3] = exists ? float(w[from + e]) : 0.0f;
#pragma unroll
  for (int r = 0; r < 3; ++r) transform_taps(taps[r][0], taps[r][1], taps[r][2], half_way[r]);
#if MATRICES
  if (!exists) return;
  device float* to = packed + pair;
  const INDEX step = INDEX(p.groups) * p.K * p.C;  // from a factor to the next
#else
  device float* to = packed + (slab * (FACTORS * FACTORS * DEPTH) * p.block + in_block * DEPTH +
                               int(i % DEPTH));
  const int step = DEPTH * p.block;
#endif
#pragma unroll
  for (int j = 0; j < FACTORS; ++j) {
    float factors[FACTORS];
    transform_taps(half_way[0][j], half_way[1][j], half_way[2][j], factors);
#pragma unroll
    for (int f = 0; f < FACTORS; ++f) {
      to[(f * FACTORS + j) * step] = factors[f] * fraction(f) * fraction(j);
    }
  }
}
