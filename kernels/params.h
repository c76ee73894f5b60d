// SPDX-License-Identifier: Apache-2.0
// What the host tells a kernel at run time. Read by both, so plain ints: each axis fits 31 bits,
// and offsets are of the type INDEX.
#pragma once

struct ConvParams {
  int N, C, H, W;  // input
  int K, P, Q;     // output
  int R, S;        // kernel
  int groups;
  int stride_h, stride_w;
  int pad_top, pad_left;
  int dilation_h, dilation_w;
  int x_alignment, y_alignment;  // of the first element, in elements: 4, 2 or 1
  int splits;                    // parts of the reduction that are summed apart
};

// Weights K, C/groups, R, S become blocks of output channels, each [reduction][channel of the
// block] in f32, with zeros for channels that do not exist. A group begins with a block.
struct PackParams {
  int groups;
  int K;                   // output channels of a group
  int C;                   // input channels of a group
  int taps;                // R S
  int block;               // output channels of a block
  int padded_channels;     // input channels in a block, C or more
  int taps_first;          // reduction index: 1: tap, then channel; 0: channel, then tap
};

// Matrices one after the other, each rows x columns.
struct TurnParams {
  int matrices, rows, columns;
};

// Winograd's tiles of one pass, `tiles` from `first` on.
struct TileParams {
  int first, tiles;
};

struct RoofParams {
  float value;
  int rounds;  // of roof_fma
};
