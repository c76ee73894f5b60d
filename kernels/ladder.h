// SPDX-License-Identifier: Apache-2.0
// What the rungs of the ladder share: NCHW, one group. Macros beside those of conv.h: CHANNELS,
// KERNEL_H, KERNEL_W, all known when the kernel is compiled, and THREADS.
#pragma once
#include "conv.h"

enum { TAPS = CHANNELS * KERNEL_H * KERNEL_W };

// A pixel of the output, the first of `run` neighbours in a row and of `rows` rows.
struct Pixel {
  int n, row, column;
};

static inline Pixel pixel_of(index number, int run, int rows, constant ConvParams& p) {
  const int across = (p.Q + run - 1) / run, down = (p.P + rows - 1) / rows;
  Pixel at;
  at.column = int(number % across) * run;
  at.row = int(number / across % down) * rows;
  at.n = int(number / across / down);
  return at;
}

// What lies under tap (r, s) of the window that belongs to an output; 0 outside of the image.
static inline float input_at(device const elem* x, constant ConvParams& p, int n, int c, int row,
                             int column, int r, int s) {
  const int h = row * p.stride_h - p.pad_top + r * p.dilation_h;
  const int w = column * p.stride_w - p.pad_left + s * p.dilation_w;
  const bool inside = n < p.N && h >= 0 && h < p.H && w >= 0 && w < p.W;
  return inside ? float(x[x_image(p, n) + x_channel(p, c) + h * x_row(p) + w]) : 0.0f;
}

static inline index y_offset(constant ConvParams& p, Pixel at, int k) {
  return y_image(p, at.n) + y_channel(p, k) + at.row * y_row(p) + at.column;
}
