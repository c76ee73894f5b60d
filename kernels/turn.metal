// SPDX-License-Identifier: Apache-2.0
// Turns matrices around: planes (NCHW) become pixels with their channels (NHWC), and back. A
// threadgroup turns a square, which lies in threadgroup memory meanwhile, so that neighbouring
// lanes read neighbours, and write neighbours.
//
// Macros: ELEM, INDEX, TILE, the side of a square, and THREADS.
#include <metal_stdlib>
using namespace metal;
#include "params.h"

enum {
  PITCH = TILE + 4 / sizeof(ELEM),  // 4 bytes more: the lanes of a column are in different banks
  STEP = THREADS / TILE,
};

[[kernel, max_total_threads_per_threadgroup(THREADS)]]
void turn(device const ELEM* from [[buffer(0)]],
          device ELEM* to [[buffer(1)]],
          constant TurnParams& p [[buffer(2)]],
          uint3 group [[threadgroup_position_in_grid]],
          uint3 groups [[threadgroups_per_grid]],
          uint t [[thread_index_in_threadgroup]]) {
  threadgroup ELEM square[TILE * PITCH];
  const INDEX number = INDEX(group.y) * INDEX(groups.x) + INDEX(group.x);
  const int across = (p.columns + TILE - 1) / TILE, down = (p.rows + TILE - 1) / TILE;
  const int column = int(number % across) * TILE, row = int(number / across % down) * TILE;
  const INDEX matrix = number / across / down;
  if (matrix >= p.matrices) return;  // the grid may hold more threadgroups than there are squares
  const int lane = int(t) % TILE, first = int(t) / TILE;
  const INDEX start = matrix * p.rows * p.columns;
#pragma unroll
  for (int i = 0; i < TILE; i += STEP) {
    const int r = first + i;
    if (row + r < p.rows && column + lane < p.columns)
      square[r * PITCH + lane] = from[start + INDEX(row + r) * p.columns + (column + lane)];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
  for (int i = 0; i < TILE; i += STEP) {
    const int c = first + i;
    if (row + lane < p.rows && column + c < p.columns)
      to[start + INDEX(column + c) * p.rows + (row + lane)] = square[lane * PITCH + c];
  }
}
