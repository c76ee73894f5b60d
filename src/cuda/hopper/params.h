// SPDX-License-Identifier: Apache-2.0
// What the host tells the kernels of conv.cu. Read by both.
#pragma once

// Divides by multiplying: Granlund and Montgomery, Division by invariant integers using
// multiplication (1994); exact for numbers below 2^31. divisor() makes it, divide() uses it.
struct Divisor {
  int by;
  unsigned multiplier, shift;
};

struct HopperParams {
  int N, C, H, W;  // input
  int K, P, Q;     // output
  int R, S;
  int groups;
  int stride_h, stride_w;
  int pad_top, pad_left;
  int dilation_h, dilation_w;
  int pixels;       // N P Q
  int tiles;        // of pixels
  int blocks;       // of output channels, in a group
  int steps;        // of the reduction, 128 bytes of each row at a time
  int splits;       // parts of the reduction that are summed apart
  int items;        // tiles x blocks x groups x splits
  int x_aligned;    // whether 16 bytes may be read at once
  int y_aligned;    // whether 16 bytes may be written at once
  int groups_last;  // whether a group's tiles follow each other
  Divisor by_blocks, by_groups, by_tiles;
  Divisor by_image, by_row;  // of pixels, or of what tiles (positions, of lines) cover
  // Where inputs are fetched once for all taps (HALO):
  int lines;             // 1: a tile is of positions one after the other, 0: of blocks of 8 x 8
  int tile_h, tile_w;    // outputs
  int cover_h, cover_w;  // tiles (or positions, of lines) in an image
  int pitch;             // inputs in a row under a tile of blocks
  Divisor by_pitch;
  int halo_rows;  // inputs under a tile
  int x_bytes;    // of them in shared memory, a multiple of 1024
};
