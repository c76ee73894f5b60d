// SPDX-License-Identifier: Apache-2.0
// What the convolution kernels share. Macros: ELEM (float, half, bfloat), INDEX (int, or long where
// an offset may need it), NHWC (0, 1), BIAS (0, 1), ACTIVATION (0 none, 1 relu, 2 relu6, 3 silu).
#pragma once
#include <metal_stdlib>
using namespace metal;
#include "params.h"

typedef ELEM elem;
typedef vec<elem, 2> elem2;
typedef vec<elem, 4> elem4;
typedef INDEX index;
// What y holds: partial sums are f32 whatever the dtype.
#ifndef OUT_ELEM
#define OUT_ELEM ELEM
#endif
typedef OUT_ELEM out_elem;
typedef vec<out_elem, 2> out_elem2;
typedef vec<out_elem, 4> out_elem4;

// The number of a threadgroup in a grid that the host spread over x and y.
static inline index group_number(uint3 group, uint3 groups) {
  return index(group.y) * index(groups.x) + index(group.x);
}

// Offsets of image n, of a channel, and from a row or column to the next.
static inline index x_image(constant ConvParams& p, int n) { return index(n) * p.C * p.H * p.W; }
static inline index y_image(constant ConvParams& p, int n) { return index(n) * p.K * p.P * p.Q; }
#if NHWC
static inline index x_channel(constant ConvParams& p, int c) { return c; }
static inline index x_row(constant ConvParams& p) { return index(p.W) * p.C; }
static inline index x_column(constant ConvParams& p) { return p.C; }
static inline index y_channel(constant ConvParams& p, int k) { return k; }
static inline index y_row(constant ConvParams& p) { return index(p.Q) * p.K; }
static inline index y_column(constant ConvParams& p) { return p.K; }
#else
static inline index x_channel(constant ConvParams& p, int c) { return index(c) * p.H * p.W; }
static inline index x_row(constant ConvParams& p) { return p.W; }
static inline index x_column(constant ConvParams& p) { return 1; }
static inline index y_channel(constant ConvParams& p, int k) { return index(k) * p.P * p.Q; }
static inline index y_row(constant ConvParams& p) { return p.Q; }
static inline index y_column(constant ConvParams& p) { return 1; }
#endif

static inline float bias_of(device const elem* bias, constant ConvParams& p, int k) {
#if BIAS
  return k < p.K ? float(bias[k]) : 0.0f;
#else
  return 0.0f;
#endif
}

// Comparisons, not max and min: NaN passes.
static inline float activate(float v) {
#if ACTIVATION == 1
  return v < 0.0f ? 0.0f : v;
#elif ACTIVATION == 2
  return v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v;
#elif ACTIVATION == 3
  return v / (1.0f + exp(-v));
#else
  return v;
#endif
}

// Elements that one store may write where runs of `run` elements follow each other from y on.
static inline int store_width(constant ConvParams& p, int run) {
  return run % 4 == 0 && p.y_alignment == 4 ? 4 : run % 2 == 0 && p.y_alignment >= 2 ? 2 : 1;
}

static inline void store_vector(device out_elem* y, thread const float (&v)[4]) {
  *(device out_elem4*)y = out_elem4(out_elem(v[0]), out_elem(v[1]), out_elem(v[2]), out_elem(v[3]));
}

// The first `count` of four neighbours. `width` is what store_width() gave, the same for all
// threads.
static inline void store(device out_elem* y, thread const float (&v)[4], int count, int width) {
  if (count >= 4 && width == 4) {
    store_vector(y, v);
  } else if (count >= 4 && width == 2) {
    *(device out_elem2*)y = out_elem2(out_elem(v[0]), out_elem(v[1]));
    *(device out_elem2*)(y + 2) = out_elem2(out_elem(v[2]), out_elem(v[3]));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) y[i] = out_elem(v[i]);
    }
  }
}
