// SPDX-License-Identifier: Apache-2.0
// The two ends of Winograd in three passes: between them a product of matrices for each of the
// PRODUCTS places of a tile, tiles x channels, which is a 1x1 convolution with as many groups and
// any kernel's work. What waits in between is pixels of NHWC: a tile is one, with C (or K) channels
// for each place.
//
// In NHWC a thread transforms one channel of a tile, and neighbouring lanes take neighbouring
// channels on both sides. In NCHW a threadgroup has TILES tiles of CHANNELS channels: lanes are
// tiles on the image's side, channels on the other, and threadgroup memory turns them around, a row
// of a tile at a time.
//
// Macros: those of winograd_tiles.h, SIDE 4.
#include "winograd_tiles.h"

enum {
  THREADS = 256,
  CHANNELS = 32,
  TILES = THREADS / CHANNELS,
  PITCH = CHANNELS + 1,  // of a channel's or a tile's neighbours: lanes are in different banks
};

// A thread's tile, counted from the pass's first, and channel. Threadgroups that share inputs
// follow each other.
struct Own {
  int tile, channel;
};

static inline Own own_of(index group, int tile, int channel, int channels) {
#if NHWC
  const index number = group * THREADS + (tile * CHANNELS + channel);
  return {int(number / channels), int(number % channels)};
#else
  const int blocks = (channels + CHANNELS - 1) / CHANNELS;
  return {int(group / blocks) * TILES + tile, int(group % blocks) * CHANNELS + channel};
#endif
}

// Where the first place of the tile has its channels.
static inline index waiting_at(int tile, int channels) {
  return index(tile) * PRODUCTS * channels;
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void winograd_input(device const elem* x [[buffer(0)]],
                    device float* to [[buffer(1)]],
                    constant ConvParams& p [[buffer(2)]],
                    constant TileParams& tiles [[buffer(3)]],
                    uint3 group [[threadgroup_position_in_grid]],
                    uint3 groups [[threadgroups_per_grid]],
                    uint thread_index [[thread_index_in_threadgroup]]) {
#if !NHWC
  threadgroup float row[SPAN * TILES * PITCH];
#endif
  const int t = int(thread_index);
  const index number = group_number(group, groups);
#if NHWC
  const Own own = own_of(number, t / CHANNELS, t % CHANNELS, p.C);
  if (own.tile >= tiles.tiles) return;
#else
  const Own own = own_of(number, t % TILES, t / TILES, p.C);
  const Own other = own_of(number, t / CHANNELS, t % CHANNELS, p.C);
#endif
  const int in_group = p.C / p.groups;
  // Tiles behind the last give zeros.
  Place place = place_of(index(tiles.first) + own.tile, p);
  if (own.channel >= p.C) place.n = p.N;
  const Window window = window_at(place, own.channel / in_group, own.channel % in_group, p);
  float values[SPAN][SPAN];
  read_window(values, x, window, p);
  transform(values);
#if NHWC
  to += waiting_at(own.tile, p.C) + own.channel;
#pragma unroll
  for (int i = 0; i < PRODUCTS; ++i) to[index(i) * p.C] = values[i / SPAN][i % SPAN];
#else
  const bool exists = other.tile < tiles.tiles && other.channel < p.C;
  to += waiting_at(other.tile, p.C) + other.channel;
#pragma unroll
  for (int i = 0; i < SPAN; ++i) {
    if (i > 0) threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int j = 0; j < SPAN; ++j)
      row[(j * TILES + t % TILES) * PITCH + t / TILES] = values[i][j];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (!exists) continue;
#pragma unroll
    for (int j = 0; j < SPAN; ++j)
      to[index(i * SPAN + j) * p.C] = row[(j * TILES + t / CHANNELS) * PITCH + t % CHANNELS];
  }
#endif
}

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void winograd_output(device const float* from [[buffer(0)]],
                     device const elem* bias [[buffer(1)]],
                     device elem* y [[buffer(2)]],
                     constant ConvParams& p [[buffer(3)]],
                     constant TileParams& tiles [[buffer(4)]],
                     uint3 group [[threadgroup_position_in_grid]],
                     uint3 groups [[threadgroups_per_grid]],
                     uint thread_index [[thread_index_in_threadgroup]]) {
#if !NHWC
  threadgroup float row[CHANNELS * PITCH];
#endif
  const int t = int(thread_index);
  const index number = group_number(group, groups);
  const Own own = own_of(number, t / CHANNELS, t % CHANNELS, p.K);
  const bool exists = own.tile < tiles.tiles && own.channel < p.K;
  float v[SIDE][SIDE];
  if (exists) transform_sums(from + (waiting_at(own.tile, p.K) + own.channel), p.K, v);
#if NHWC
  if (!exists) return;
  const Outputs outputs = outputs_at(place_of(index(tiles.first) + own.tile, p), p);
  if (outputs.exists != 0) store_tile(y, v, own.channel, bias_of(bias, p, own.channel), outputs, p);
#else
  // A lane is a column of a tile.
  const int column = t % CHANNELS % SIDE;
  const Own other = own_of(number, t % CHANNELS / SIDE, t / CHANNELS, p.K);
  const Place place = place_of(index(tiles.first) + other.tile, p);
  const Outputs outputs = outputs_at(place, p);
  const bool stores =
      other.tile < tiles.tiles && outputs.exists != 0 && column_exists(outputs, column);
  device elem* to = y + (outputs.to + column * step_w(p));
#pragma unroll
  for (int i = 0; i < SIDE; ++i) {
    if (i > 0) threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (int j = 0; j < SIDE; ++j)
      row[t % CHANNELS * PITCH + (t / CHANNELS * SIDE + j)] = exists ? v[i][j] : 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (!stores || !row_exists(outputs, i)) continue;
#pragma unroll
    for (int c = 0; c < CHANNELS; c += TILES) {
      const int k = other.channel + c;
      if (k < p.K)
        to[y_channel(p, k) + i * step_h(p) * y_row(p)] =
            elem(activate(row[(t / CHANNELS + c) * PITCH + t % CHANNELS] + bias_of(bias, p, k)));
    }
  }
#endif
}
