// SPDX-License-Identifier: Apache-2.0
// Adds the partial sums of general.metal, in the order of the parts. A thread makes one output.
// Macros: those of conv.h and THREADS.
#include "conv.h"

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void split(device const float* sums [[buffer(0)]],  // parts one after the other, each like y
           device const elem* bias [[buffer(1)]],
           device elem* y [[buffer(2)]],
           constant ConvParams& p [[buffer(3)]],
           uint3 group [[threadgroup_position_in_grid]],
           uint3 groups [[threadgroups_per_grid]],
           uint t [[thread_index_in_threadgroup]]) {
  const index i = group_number(group, groups) * THREADS + int(t);
  const index all = y_image(p, p.N);
  if (i >= all) return;
  const int k = NHWC ? int(i % p.K) : int(i / p.P / p.Q % p.K);
  float sum = sums[i];
  for (int part = 1; part < p.splits; ++part) sum += sums[part * all + i];
  y[i] = elem(activate(sum + bias_of(bias, p, k)));
}
