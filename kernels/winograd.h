// SPDX-License-Identifier: Apache-2.0
// Winograd's F(2x2, 3x3): 2 x 2 outputs from 4 x 4 inputs through 16 products instead of 36 (Lavin
// and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; the points are 0, 1, -1 and
// infinity). Transforms of inputs, weights and outputs, and where a tile of 2 x 2 outputs lies.
#pragma once
#include "conv.h"

enum {
  SPAN = 4,        // rows and columns of a tile's input
  PRODUCTS = 16,   // of a tile
  DEPTH = 8,       // input channels of a slab
};

// One dimension of the transforms.
static inline void transform_input(thread float& a, thread float& b, thread float& c,
                                   thread float& d) {
  const float sum = b + c, difference = c - b;
  a = a - c;
  d = b - d;
  b = sum;
  c = difference;
}
static inline void transform_output(thread const float (&m)[SPAN], thread float (&y)[2]) {
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}

static inline void transform_output(thread const float (&m)[SPAN][SPAN], thread float (&y)[2][2]) {
  float half_way[2][SPAN];
#pragma unroll
  for (int j = 0; j < SPAN; ++j) {
    const float column[SPAN] = {m[0][j], m[1][j], m[2][j], m[3][j]};
    float v[2];
    transform_output(column, v);
    half_way[0][j] = v[0];
    half_way[1][j] = v[1];
  }
  transform_output(half_way[0], y[0]);
  transform_output(half_way[1], y[1]);
}

// The first output of a tile. Outputs the dilation apart belong together: they make one of several
// images that are not dilated, whose tiles come one after the other.
struct Place {
  int n, row, column;  // n is N or more: there is no such tile
};

static inline int step_h(constant ConvParams& p) { return min(p.dilation_h, p.P); }
static inline int step_w(constant ConvParams& p) { return min(p.dilation_w, p.Q); }

// Tiles of one of those images, down and across.
static inline int tiles_down(constant ConvParams& p) {
  return (p.P + 2 * step_h(p) - 1) / (2 * step_h(p));
}
static inline int tiles_across(constant ConvParams& p) {
  return (p.Q + 2 * step_w(p) - 1) / (2 * step_w(p));
}

static inline index all_tiles(constant ConvParams& p) {
  return index(p.N) * (step_h(p) * tiles_down(p)) * (step_w(p) * tiles_across(p));
}

static inline Place place_of(index number, constant ConvParams& p) {
  const int down = tiles_down(p), across = tiles_across(p);
  const int columns = step_w(p) * across, rows = step_h(p) * down;
  const int column = int(number % columns), row = int(number / columns % rows);
  Place at;
  at.n = int(number / columns / rows);
  at.row = row / down + row % down * 2 * step_h(p);
  at.column = column / across + column % across * 2 * step_w(p);
  return at;
}
