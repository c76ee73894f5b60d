// SPDX-License-Identifier: Apache-2.0
// A convolution in NHWC of few input channels on matrix units (mma.sync): pixels x output channels,
// in halves. Under one row of the kernel the inputs of a pixel follow each other in memory. The
// reduction is these runs, each filled up to quads of pairs (8 factors), as the units want them, so
// that nothing is padded to 16 channels, and a factor's place is known when this is compiled.
//
// A thread block has the packed weights and the bias in shared memory for good, and goes from tile
// to tile. A tile is WARPS rows of 16 ROW_TILES outputs, a row for each warp.
//
// Before this text come params.h and numbers.cuh. Macros beside those of numbers.cuh: IN_CHANNELS,
// KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H; COLUMNS, output channels of a tile, 16, 32 or
// 64; ROW_TILES; WARPS; BLOCKS, on a multiprocessor; BIAS.
enum {
  RUN = KERNEL_W * IN_CHANNELS,
  QUADS = (RUN + 7) / 8,  // of a run
  ALL_QUADS = KERNEL_H * QUADS,
  STEPS = (ALL_QUADS + 1) / 2,  // of 16 factors
  PIXEL = STRIDE_W * IN_CHANNELS,
  WIDTH = 16 * ROW_TILES,
  // Inputs under a tile. What a quad reads behind its run has a place, too.
  WINDOW_ROWS = (WARPS - 1) * STRIDE_H + (KERNEL_H - 1) * DILATION_H + 1,
  PITCH = ((WIDTH - 1) * PIXEL + QUADS * 8 + 1) / 2 * 2,
  // Pairs are read at once: those that begin at odd places from a copy that is shifted by one.
  COPIES = PIXEL % 2 + 1,
  PLANE = WINDOW_ROWS * PITCH,
  FETCHES = ROW_TILES == 1 ? 1 : 4,  // at once; small tiles have no registers for more
  TILES = COLUMNS / 8,                   // of 8 columns
  VECTOR_TILES = TILES < 4 ? TILES : 4,  // of which a thread's outputs make one vector
  WEIGHT_WORDS = STEPS * TILES * 64,
};

// The output channel of a tile's column. A lane's are those of columns 2 (lane % 4) and the next,
// which lie beside each other here.
FN int channel_of(int tile, int column) {
  return tile / VECTOR_TILES * (8 * VECTOR_TILES) + column / 2 * (2 * VECTOR_TILES) +
         tile % VECTOR_TILES * 2 + column % 2;
}

// Weights K, C, R, S as lanes hold them: for each block of channels, step and two tiles two words
// of a lane for each tile. A thread makes one number.
extern "C" __global__ void __launch_bounds__(128)
    hopper_pack(const elem* __restrict__ w, elem* __restrict__ packed, const HopperParams p) {
  const long long i = (long long)blockIdx.x * 128 + threadIdx.x;
  if (i >= (long long)p.blocks * WEIGHT_WORDS * 2) return;
  const int e = int(i % (WEIGHT_WORDS * 2)), block = int(i / (WEIGHT_WORDS * 2));
  const int lane = e / 8 % 32, rest = e / 256;
  const int tile = rest % (TILES / 2) * 2 + e / 4 % 2;
  const int quad = rest / (TILES / 2) * 2 + e / 2 % 2;
  const int r = quad / QUADS, at = quad % QUADS * 8 + lane % 4 * 2 + e % 2;
  const int k = block * COLUMNS + channel_of(tile, lane / 4);
  elem v = 0;
  if (k < p.K && r < KERNEL_H && at < RUN) {
    const int s = at / IN_CHANNELS, c = at % IN_CHANNELS;
    v = w[(((long long)k * IN_CHANNELS + c) * KERNEL_H + r) * KERNEL_W + s];
  }
  packed[i] = v;
}

struct Tile {
  int n, row, column;
};
FN Tile tile_at(int number, const HopperParams& p) {
  return {number / p.cover_w / p.cover_h, number / p.cover_w % p.cover_h * WARPS,
          number % p.cover_w * WIDTH};
}

FN word pair(elem low, elem high) { return word(low) | word(high) << 16; }

// The inputs under a tile, zeros where there are none.
FN void fetch(word* window, const elem* __restrict__ x, const Tile& tile, const HopperParams& p) {
  const int top = tile.row * STRIDE_H - p.pad_top;
  const int left = (tile.column * STRIDE_W - p.pad_left) * IN_CHANNELS;
  const int end = p.W * IN_CHANNELS;
#pragma unroll FETCHES
  for (int i = threadIdx.x; i < PLANE / 2; i += 32 * WARPS) {
    const int h = top + i / (PITCH / 2), at = left + i % (PITCH / 2) * 2;
    const bool inside = word(h) < word(p.H);
    const elem* from = x + ((long long)tile.n * p.H + (inside ? h : 0)) * end;
    elem v[3] = {0, 0, 0};
#pragma unroll
    for (int e = 0; e < 1 + COPIES; ++e)
      if (inside && word(at + e) < word(end)) v[e] = from[at + e];
    window[i] = pair(v[0], v[1]);
    if (COPIES == 2) window[PLANE / 2 + i] = pair(v[1], v[2]);
  }
}

FN void multiply(float (&sums)[4], const word (&a)[4], word b0, word b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32."
#if KIND == 0
      "f16.f16"
#else
      "bf16.bf16"
#endif
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Stores a lane's outputs of one pixel.
FN void store(elem* y, const word (&v)[TILES], int k0, const HopperParams& p) {
#pragma unroll
  for (int i = 0; i < TILES; i += VECTOR_TILES) {
    const int k = k0 + channel_of(i, threadIdx.x % 4 * 2);
    if (k >= p.K) continue;
    if (p.y_aligned && VECTOR_TILES == 4) {
      __stcs((uint4*)(y + k), make_uint4(v[i], v[i + 1], v[i + 2], v[i + 3]));
    } else if (p.y_aligned) {
      __stcs((uint2*)(y + k), make_uint2(v[i], v[i + 1]));
    } else {
#pragma unroll
      for (int e = 0; e < 2 * VECTOR_TILES; ++e)
        if (k + e < p.K) y[k + e] = elem(v[i + e / 2] >> (e % 2 * 16));
    }
  }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
    hopper_conv(const elem* __restrict__ x, const char* __restrict__ packed,
                const elem* __restrict__ bias, elem* __restrict__ y, const HopperParams p) {
  extern __shared__ uint4 memory[];
  float* const add = (float*)memory + WEIGHT_WORDS;  // before the window, which may end anywhere
  word* const window = (word*)memory + WEIGHT_WORDS + COLUMNS;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  // The grid is a multiple of the blocks of channels.
  const int block = blockIdx.x % p.blocks, k0 = block * COLUMNS;
  for (int i = threadIdx.x; i < WEIGHT_WORDS / 4; i += 32 * WARPS)
    memory[i] = ((const uint4*)packed)[block * (WEIGHT_WORDS / 4) + i];
  // In the order of the columns, as lanes want it.
  for (int i = threadIdx.x; BIAS && i < COLUMNS; i += 32 * WARPS) {
    const int k = k0 + channel_of(i / 8, i % 8);
    add[i] = k < p.K ? to_float(bias[k]) : 0.0f;
  }
  // Of the last quad of a run, the lane's pair that belongs to it.
  const int last = QUADS * 8 - 8 + lane % 4 * 2;
  const word mask = (last < RUN ? 0xFFFFu : 0) | (last + 1 < RUN ? 0xFFFF0000u : 0);
  // This lane's pairs begin here, in words: those of odd pixels may lie at odd places.
  const int odd = lane / 4 * PIXEL % 2;
  const word* const from = window + odd * (PLANE / 2) +
                           (warp * STRIDE_H * PITCH + lane / 4 * PIXEL + lane % 4 * 2 - odd) / 2;

  for (int number = blockIdx.x / p.blocks; number < p.tiles; number += gridDim.x / p.blocks) {
    const Tile tile = tile_at(number, p);
    __syncthreads();  // the window was read
    fetch(window, x, tile, p);
    __syncthreads();
    float sums[ROW_TILES][TILES][4];
#pragma unroll
    for (int i = 0; i < TILES; ++i) {
      const float2 b = BIAS ? ((const float2*)add)[i * 4 + lane % 4] : float2{0.0f, 0.0f};
#pragma unroll
      for (int j = 0; j < ROW_TILES; ++j) {
        sums[j][i][0] = sums[j][i][2] = b.x;
        sums[j][i][1] = sums[j][i][3] = b.y;
      }
    }
#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      word a[ROW_TILES][4];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int quad = 2 * step + half;
        const int at = quad / QUADS * (DILATION_H * PITCH) + quad % QUADS * 8;
#pragma unroll
        for (int i = 0; i < ROW_TILES * 2; ++i) {
          word v = 0;
          if (quad < ALL_QUADS) v = from[(at + i * 8 * PIXEL) / 2];
          if (quad % QUADS == QUADS - 1) v &= mask;
          a[i / 2][half * 2 + i % 2] = v;
        }
      }
#pragma unroll
      for (int i = 0; i < TILES; i += 2) {
        const uint4 b = memory[(step * (TILES / 2) + i / 2) * 32 + lane];
#pragma unroll
        for (int j = 0; j < ROW_TILES; ++j) {
          multiply(sums[j][i], a[j], b.x, b.y);
          multiply(sums[j][i + 1], a[j], b.z, b.w);
        }
      }
    }
    const int row = tile.row + warp;
    if (row >= p.P) continue;
#pragma unroll
    for (int i = 0; i < ROW_TILES * 2; ++i) {
      const int q = tile.column + i * 8 + lane / 4;
      if (q >= p.Q) continue;
      word v[TILES];
#pragma unroll
      for (int j = 0; j < TILES; ++j)
        v[j] = two_halves(activate(sums[i / 2][j][i % 2 * 2]),
                          activate(sums[i / 2][j][i % 2 * 2 + 1]));
      store(y + (((long long)tile.n * p.P + row) * p.Q + q) * p.K, v, k0, p);
    }
  }
}
