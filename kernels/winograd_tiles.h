// SPDX-License-Identifier: Apache-2.0
// Winograd's F(2x2, 3x3) and F(4x4, 3x3): SIDE x SIDE outputs from (SIDE + 2)^2 inputs through as
// many products, 16 instead of 36 or 36 instead of 144 (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015; the points are 0, 1, -1 and infinity, and 2 and -2). Here
// are the transforms, and where a tile's inputs and outputs lie.
// Macros beside those of conv.h: SIDE; DILATED, 0: columns are not.
#pragma once
#include "conv.h"

enum {
  SPAN = SIDE + 2,         // rows and columns of a tile's input
  PRODUCTS = SPAN * SPAN,  // of a tile
};

// One dimension of the transforms.
#if SIDE == 2
static inline void transform_input(thread float (&d)[SPAN]) {
  const float sum = d[1] + d[2], difference = d[2] - d[1];
  d[0] = d[0] - d[2];
  d[3] = d[1] - d[3];
  d[1] = sum;
  d[2] = difference;
}
static inline void transform_output(thread const float (&m)[SPAN], thread float (&y)[SIDE]) {
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}
#else
static inline void transform_input(thread float (&d)[SPAN]) {
  const float even = fma(-4.0f, d[2], d[4]), odd = fma(-4.0f, d[1], d[3]);
  const float outer = d[4] - d[2], inner = d[3] - d[1];
  d[0] = fma(4.0f, d[0], fma(-5.0f, d[2], d[4]));
  d[5] = fma(4.0f, d[1], fma(-5.0f, d[3], d[5]));
  d[1] = even + odd;
  d[2] = even - odd;
  d[3] = fma(2.0f, inner, outer);
  d[4] = fma(-2.0f, inner, outer);
}
static inline void transform_output(thread const float (&m)[SPAN], thread float (&y)[SIDE]) {
  const float a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = fma(2.0f, e, b);
  y[2] = fma(4.0f, c, a);
  y[3] = fma(8.0f, e, b) + m[5];
}
#endif

// Down the columns of a window, in place.
static inline void transform_down(thread float (&window)[SPAN][SPAN]) {
#pragma unroll
  for (int j = 0; j < SPAN; ++j) {
    float column[SPAN];
#pragma unroll
    for (int i = 0; i < SPAN; ++i) column[i] = window[i][j];
    transform_input(column);
#pragma unroll
    for (int i = 0; i < SPAN; ++i) window[i][j] = column[i];
  }
}

// Of a window, in place.
static inline void transform(thread float (&window)[SPAN][SPAN]) {
  transform_down(window);
#pragma unroll
  for (int i = 0; i < SPAN; ++i) transform_input(window[i]);
}

// Outputs of a tile from its products' sums, `step` floats apart.
template <class POINTER, class STEP>
static inline void transform_sums(POINTER sums, STEP step, thread float (&y)[SIDE][SIDE]) {
  float half_way[SIDE][SPAN];
#pragma unroll
  for (int j = 0; j < SPAN; ++j) {
    float column[SPAN], v[SIDE];
#pragma unroll
    for (int i = 0; i < SPAN; ++i) column[i] = sums[(i * SPAN + j) * step];
    transform_output(column, v);
#pragma unroll
    for (int i = 0; i < SIDE; ++i) half_way[i][j] = v[i];
  }
#pragma unroll
  for (int i = 0; i < SIDE; ++i) transform_output(half_way[i], y[i]);
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
  return (p.P + SIDE * step_h(p) - 1) / (SIDE * step_h(p));
}
static inline int tiles_across(constant ConvParams& p) {
  return (p.Q + SIDE * step_w(p) - 1) / (SIDE * step_w(p));
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
  at.row = row / down + row % down * SIDE * step_h(p);
  at.column = column / across + column % across * SIDE * step_w(p);
  return at;
}

// What a thread reads of the input: SPAN x SPAN elements of one channel.
#if SIDE == 2
typedef uint window_mask;
#else
typedef ulong window_mask;
#endif
struct Window {
  index from;          // offset of the first element; may lie outside the image
  int rest;            // channels from this one on
  window_mask inside;  // a bit for each element: it exists
};

static inline Window window_at(Place at, int g, int channel, constant ConvParams& p) {
  const int h = at.row - p.pad_top, w = at.column - p.pad_left;
  Window window;
  window.rest = p.C / p.groups - channel;
  window.inside = 0;
  window.from = 0;
  if (at.n >= p.N) return window;
  window.from = x_image(p, at.n) + x_channel(p, g * (p.C / p.groups) + channel) + h * x_row(p) +
                w * x_column(p);
#pragma unroll
  for (int i = 0; i < SPAN * SPAN; ++i) {
    const int ih = h + i / SPAN * p.dilation_h, iw = w + i % SPAN * p.dilation_w;
    if (uint(ih) < uint(p.H) && uint(iw) < uint(p.W)) window.inside |= window_mask(1) << i;
  }
  return window;
}

static inline void read_window(thread float (&to)[SPAN][SPAN], device const elem* x,
                               thread const Window& window, constant ConvParams& p) {
  const window_mask inside = window.rest > 0 ? window.inside : window_mask(0);
  const index row = p.dilation_h * x_row(p);
  const index column = DILATED ? p.dilation_w * x_column(p) : x_column(p);
  device const elem* line = x + window.from;
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
#if SIDE == 2  // else the compiler spills
    line = x + (window.from + i * row);
#endif
    device const elem* at = line;
#pragma unroll
    for (int j = 0; j < SPAN; ++j) {
      const bool exists = (inside & window_mask(1) << (i * SPAN + j)) != 0;
#if SIDE == 2
      to[i][j] = exists ? float(line[j * column]) : 0.0f;
#else
      to[i][j] = exists ? float(*at) : 0.0f;
      at += column;
#endif
    }
    line += row;
  }
}

// Where a tile's outputs go.
struct Outputs {
  index to;      // offset of the first, in channel 0
  uint exists;   // bits: the tile, its other rows, its other columns
};

static inline bool row_exists(Outputs outputs, int i) {
  return i == 0 || (outputs.exists & 1u << i) != 0;
}
static inline bool column_exists(Outputs outputs, int j) {
  return j == 0 || (outputs.exists & 1u << (SIDE - 1 + j)) != 0;
}

static inline Outputs outputs_at(Place at, constant ConvParams& p) {
  Outputs outputs;
  outputs.to = y_image(p, at.n) + at.row * y_row(p) + at.column * y_column(p);
  outputs.exists = 0;
  if (at.n >= p.N || at.row >= p.P || at.column >= p.Q) return outputs;
  outputs.exists = 1;
#pragma unroll
  for (int i = 1; i < SIDE; ++i) {
    if (at.row + i * step_h(p) < p.P) outputs.exists |= 1u << i;
    if (at.column + i * step_w(p) < p.Q) outputs.exists |= 1u << (SIDE - 1 + i);
  }
  return outputs;
}

// Bias, activation, and the outputs of channel k of all groups that exist.
static inline void store_tile(device out_elem* y, thread float (&v)[SIDE][SIDE], int k, float b,
                              Outputs outputs, constant ConvParams& p) {
  const int down = step_h(p), right = step_w(p);
  device out_elem* to = y + (outputs.to + y_channel(p, k));
#pragma unroll
  for (int e = 0; e < SIDE * SIDE; ++e) v[e / SIDE][e % SIDE] = activate(v[e / SIDE][e % SIDE] + b);
#pragma unroll
  for (int i = 0; i < SIDE; ++i) {
    if (!row_exists(outputs, i)) continue;
    device out_elem* line = to + i * down * y_row(p);
#if !NHWC
    const int width = right == 1 ? store_width(p, p.Q) : 1;
#if SIDE == 4
    if (width == 4) {
      store_vector(line, v[i]);
      continue;
    }
#endif
    if (width >= 2) {
#pragma unroll
      for (int j = 0; j < SIDE; j += 2) {
        if (column_exists(outputs, j))
          *(device out_elem2*)(line + j) = out_elem2(out_elem(v[i][j]), out_elem(v[i][j + 1]));
      }
      continue;
    }
#endif
#pragma unroll
    for (int j = 0; j < SIDE; ++j) {
      if (column_exists(outputs, j)) line[j * right * y_column(p)] = out_elem(v[i][j]);
    }
  }
}
