// SPDX-License-Identifier: Apache-2.0
// The plainest convolution: a thread makes one output, and adds up its products one by one.
#include "conv.h"

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void basic(device const elem* x [[buffer(0)]],
           device const float* w [[buffer(1)]],  // K, C/groups, R, S
           device const elem* bias [[buffer(2)]],
           device elem* y [[buffer(3)]],
           constant ConvParams& p [[buffer(4)]],
           uint3 group [[threadgroup_position_in_grid]],
           uint3 groups [[threadgroups_per_grid]],
           uint t [[thread_index_in_threadgroup]]) {
  const index output = group_number(group, groups) * THREADS + int(t);
  if (output >= y_image(p, p.N)) return;
#if NHWC  // outputs are numbered as they lie in memory
  const int k = int(output % p.K), row = int(output / p.K / p.Q % p.P);
  const int column = int(output / p.K % p.Q);
#else
  const int k = int(output / p.Q / p.P % p.K), row = int(output / p.Q % p.P);
  const int column = int(output % p.Q);
#endif
  const int n = int(output / p.K / p.P / p.Q);
  const int channels = p.C / p.groups, first = k / (p.K / p.groups) * channels;
  const int h0 = row * p.stride_h - p.pad_top, w0 = column * p.stride_w - p.pad_left;
  device const float* weight = w + index(k) * channels * p.R * p.S;
  float sum = bias_of(bias, p, k);
  for (int c = 0; c < channels; ++c) {
    device const elem* plane = x + x_image(p, n) + x_channel(p, first + c);
    for (int r = 0; r < p.R; ++r) {
      for (int s = 0; s < p.S; ++s, ++weight) {
        const int ih = h0 + r * p.dilation_h, iw = w0 + s * p.dilation_w;
        if (ih < 0 || ih >= p.H || iw < 0 || iw >= p.W) continue;
        sum = fma(float(plane[ih * x_row(p) + iw * x_column(p)]), *weight, sum);
      }
    }
  }
  y[output] = elem(activate(sum));
}
