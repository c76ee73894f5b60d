// SPDX-License-Identifier: Apache-2.0
// What goes before and after hopper_conv: packed weights, and partial sums. Macros: see conv.cu.

// Weights K, C/groups, R, S as the stages want them: for each group, block of channels and step an
// image of COLUMNS rows, with zeros where there are no weights; f32 as an upper and a lower plane.
// A thread makes one number.
extern "C" __global__ void __launch_bounds__(128)
    hopper_pack(const elem* __restrict__ w, elem* __restrict__ packed, const HopperParams p) {
  enum { ROW = 128 / SIZE };
  const int C = p.C / p.groups, K = p.K / p.groups, taps = p.R * p.S;
  const int images = p.steps * (HALO ? taps : 1);
  const long long all = (long long)p.groups * p.blocks * images * COLUMNS * ROW;
  const long long i = (long long)blockIdx.x * 128 + threadIdx.x;
  if (i >= all) return;
  const int e = int(i % ROW), row = int(i / ROW % COLUMNS);
  const long long image = i / ROW / COLUMNS;
  const int block = int(image / images);
  const Term term = term_of(int(image % images), (e / IN_CHUNK) ^ (row & 7), p);
  const int tap = term.tap, c = term.chunk * IN_CHUNK + e % IN_CHUNK;
  const int k = block % p.blocks * COLUMNS + row, g = block / p.blocks;
  elem v = 0;
  if (k < K && tap < taps) v = w[((long long)(g * K + k) * C + c) * taps + tap];
  elem* to = packed + image * (W_BYTES / SIZE) + row * ROW + e;
#if KIND < 2
  *to = v;
#else
  // The two parts of a finite weight add up to it, for those sums that are made anew.
  float high = upper(v);
  if (KIND == 3 && !is_finite(high) && is_finite(v)) high = float_of(bits_of(v) & 0xFFFFE000u);
  *to = high;
  if (KIND == 3) to[COLUMNS * ROW] = is_finite(v) ? v - high : 0.0f;
#endif
}

// Adds partial sums in the order of the parts. A thread makes four outputs of one pixel, or one
// where channels are no multiple of four.
extern "C" __global__ void __launch_bounds__(128)
    hopper_split(const float* __restrict__ sums, const elem* __restrict__ bias,
                 elem* __restrict__ y, const HopperParams p) {
  const long long all = (long long)p.pixels * p.K;
  const long long i = (long long)blockIdx.x * 128 + threadIdx.x;
  const int width = p.K % 4 == 0 ? 4 : 1;
  if (i * width >= all) return;
  const int k = int(i * width % p.K);
  float v[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int part = 0; part < p.splits; ++part) {
    const float* from = sums + part * all + i * width;
    if (width == 4) {
      const float4 f = *(const float4*)from;
      v[0] += f.x, v[1] += f.y, v[2] += f.z, v[3] += f.w;
    } else {
      v[0] += *from;
    }
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (e >= width) break;
#if BIAS
    v[e] += to_float(bias[k + e]);
#endif
    v[e] = activate(v[e]);
#if KIND < 2
    y[i * width + e] = elem(two_halves(v[e], 0.0f));
#else
    y[i * width + e] = v[e];
#endif
  }
}
