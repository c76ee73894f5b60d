// SPDX-License-Identifier: Apache-2.0
// A convolution in NHWC as a matrix product on Hopper's matrix units (wgmma), pixels x output
// channels. One warpgroup fetches, the others multiply; a thread block goes from tile to tile, and
// the fetching goes on while sums are stored.
//
// Both factors lie in shared memory in rows of 128 bytes, a row for each pixel or channel, whose 16
// byte chunks are exchanged as the units' 128-byte swizzle wants it. A step of the reduction is one
// such row. There are two ways to fill the rows of pixels:
// HALO 0: each step gathers what its rows read under one tap, or under several where channels are
// few: chunks are counted through taps and channels.
// HALO 1, for strides of 1: the inputs under all windows of a tile come once for all taps, as many
// channels as a row holds. For each tap the units then read the rows from another one on. They do
// not mind where rows begin: the swizzle is one of addresses. It needs groups of 8 rows, at equal
// distances, for 64 outputs: 8 x 8 of them (blocks), or 64 positions one after the other in an
// image whose lines have their padding between them (lines).
//
// Before this text come params.h, what wgmma_text() makes for the tile, numbers.cuh, units.cuh and
// places.cuh. Macros beside those of numbers.cuh: HALO; COLUMNS, channels of a tile; ROW_BLOCKS, of
// 64 pixels in a warpgroup; CONSUMERS, warpgroups that multiply; K_STEPS, products of a step, each
// of 32 bytes of a row (4 without HALO); STAGES, of the pipeline; BLOCKS, on a multiprocessor;
// PARTIAL: 1, sums go to y as f32 without an epilogue; BIAS; and, where given, PRODUCER_REGISTERS
// and CONSUMER_REGISTERS.

struct Ring {
  int stage;
  word parity;
};
FN void advance(Ring& ring) {
  if (++ring.stage < STAGES) return;
  ring.stage = 0;
  ring.parity ^= 1;
}

struct Shared {
  word stages, full, empty;
#if HALO
  word weights, x_full, x_empty;
#endif
};
#if HALO
FN word x_full(const Shared& s, int buffer) { return s.x_full + 8 * buffer; }
FN word x_empty(const Shared& s, int buffer) { return s.x_empty + 8 * buffer; }
#endif
FN word full(const Shared& s, int stage) { return s.full + 8 * stage; }
FN word empty(const Shared& s, int stage) { return s.empty + 8 * stage; }

#if !HALO
// Fetches one chunk of each of GATHERS rows a step, and the weights.
FN void produce(const elem* __restrict__ x, const char* __restrict__ packed, const HopperParams& p,
                const Shared& shared) {
  const int t = threadIdx.x % 128, chunk = t % 8, row0 = t / 8;
  const int C = p.C / p.groups, chunks = C / IN_CHUNK;  // of a pixel
  const word place = row0 * 128 + ((chunk ^ (row0 & 7)) * 16);
  Ring ring{0, 0};
  for (int number = blockIdx.x; number < p.items; number += gridDim.x) {
    const Item item = item_at(number, p);
    // Where the windows of this thread's rows begin, and which taps are inside the image: bits 0 to
    // 15 for rows of the kernel, 16 to 31 for its columns.
    int offsets[GATHERS];
    word inside[GATHERS];
#pragma unroll
    for (int i = 0; i < GATHERS; ++i) {
      const int pixel = item.tile * ROWS + row0 + 16 * i;
      const Place at = place_at(pixel, p);
      const int h = at.h * p.stride_h - p.pad_top, w = at.w * p.stride_w - p.pad_left;
      offsets[i] = ((at.n * p.H + h) * p.W + w) * p.C + item.g * C;
      inside[i] = 0;
      if (pixel < p.pixels) {
#pragma unroll 1
        for (int r = 0; r < p.R; ++r)
          inside[i] |= word(word(h + r * p.dilation_h) < word(p.H)) << r;
#pragma unroll 1
        for (int s = 0; s < p.S; ++s)
          inside[i] |= word(word(w + s * p.dilation_w) < word(p.W)) << (16 + s);
      }
    }
    // This thread's place in the reduction.
    const int e = item.first * 8 + chunk;
    int c = e % chunks, r = e / chunks / p.S, s = e / chunks % p.S;
    const char* weights =
        packed + ((long long)(item.g * p.blocks + item.block) * p.steps + item.first) * W_BYTES;
#pragma unroll 1
    for (int step = item.first; step < item.last; ++step) {
      barrier_wait(empty(shared, ring.stage), ring.parity ^ 1);
      const word to = shared.stages + ring.stage * STAGE_BYTES;
      if (t == 0) {
        barrier_expect(full(shared, ring.stage), W_BYTES);
        copy_bulk(to + X_BYTES, weights, W_BYTES, full(shared, ring.stage));
      }
      weights += W_BYTES;
      const int delta = (r * p.dilation_h * p.W + s * p.dilation_w) * p.C + c * IN_CHUNK;
      const word wanted = r < p.R ? (1u << r) | (0x10000u << s) : 0xFFFFFFFFu;
#pragma unroll
      for (int i = 0; i < GATHERS; ++i) {
        const bool exists = (inside[i] & wanted) == wanted;
        copy_or_load(to + place + i * 16 * 128, x + (exists ? offsets[i] + delta : 0), exists, p);
      }
      if (!p.x_aligned) publish();
      // Counts once this thread's copies are there.
      asm volatile(
          "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(full(shared, ring.stage))
          : "memory");
      advance(ring);
      c += 8;
      while (c >= chunks && r < p.R) {
        c -= chunks;
        if (++s == p.S) s = 0, ++r;
      }
    }
  }
}

#else
// Fetches the inputs under a tile's windows, 128 bytes of channels at a time, and the weights of
// each tap.
FN void produce(const elem* __restrict__ x, const char* __restrict__ packed, const HopperParams& p,
                const Shared& shared) {
  enum { PASS = 128 / X_CHUNKS };  // rows at once
  const int t = threadIdx.x % 128, chunk = t % X_CHUNKS, row0 = t / X_CHUNKS;
  const int C = p.C / p.groups, taps = p.R * p.S;
  const word place = row0 * 128 + ((chunk ^ (row0 & 7)) * 16);
  Ring ring{0, 0};
  int buffer = 0;
  word parity = 0;
  for (int number = blockIdx.x; number < p.items; number += gridDim.x) {
    const Item item = item_at(number, p);
    const Corner corner = corner_of(item.tile, p);
    const char* weights =
        packed +
        ((long long)(item.g * p.blocks + item.block) * p.steps + item.first) * taps * W_BYTES;
#pragma unroll 1
    for (int slab = item.first; slab < item.last; ++slab) {
      barrier_wait(x_empty(shared, buffer), parity ^ 1);
      word to = shared.stages + buffer * p.x_bytes + place;
      const elem* from = x + item.g * C + (slab * X_CHUNKS + chunk) * IN_CHUNK;
#pragma unroll 4
      for (int i = row0; i < p.halo_rows; i += PASS) {
        const int offset = input_of(i, corner, p);
        copy_or_load(to, from + (offset < 0 ? 0 : offset), offset >= 0, p);
        to += PASS * 128;
      }
      if (!p.x_aligned) publish();
      asm volatile(
          "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(x_full(shared, buffer))
          : "memory");
      buffer ^= 1;
      parity ^= buffer == 0;
      if (t == 0) {
#pragma unroll 1
        for (int tap = 0; tap < taps; ++tap) {
          barrier_wait(empty(shared, ring.stage), ring.parity ^ 1);
          barrier_expect(full(shared, ring.stage), W_BYTES);
          copy_bulk(shared.weights + ring.stage * W_BYTES, weights, W_BYTES,
                    full(shared, ring.stage));
          weights += W_BYTES;
          advance(ring);
        }
      }
      __syncwarp();
    }
  }
}
#endif

#if KIND == 3
// One output's part of the reduction by multiply-adds.
static __device__ __noinline__ float direct_sum(const float* x, const char* packed, int pixel,
                                                int column, Item item,
                                                const HopperParams& p) {
  const int C = p.C / p.groups;
  const int n = pixel / p.Q / p.P, row = pixel / p.Q % p.P, q = pixel % p.Q;
  float sum = 0.0f;
  const int images = HALO ? p.R * p.S : 1;  // of weights, in a step
  for (int i = item.first * images; i < item.last * images; ++i) {
    const char* weights =
        packed + ((long long)(item.g * p.blocks + item.block) * p.steps * images + i) * W_BYTES +
        column * 128;
    for (int e = 0; e < 32; ++e) {
      const int place = ((e / 4) ^ (column & 7)) * 16 + e % 4 * 4;
      const float w =
          *(const float*)(weights + place) + *(const float*)(weights + COLUMNS * 128 + place);
      const Term term = term_of(i, e / 4, p);
      const int r = term.tap / p.S, s = term.tap % p.S, c = term.chunk * 4 + e % 4;
      const int h = row * p.stride_h - p.pad_top + r * p.dilation_h;
      const int at = q * p.stride_w - p.pad_left + s * p.dilation_w;
      const bool exists = r < p.R && word(h) < word(p.H) && word(at) < word(p.W);
      if (!exists) continue;
      sum = fmaf(w, x[((long long)(n * p.H + h) * p.W + at) * p.C + item.g * C + c], sum);
    }
  }
  return sum;
}
#endif

#if KIND == 3
// Infinities and what rounds up to one have no upper and lower part: such sums are never finite, and
// are made anew.
FN void mend(float (&sums)[ROW_BLOCKS][SUMS], const Item& item, const elem* __restrict__ x,
             const char* __restrict__ packed, const HopperParams& p) {
  float zero[4] = {0.0f, 0.0f, 0.0f, 0.0f};  // NaN where a sum is not finite
#pragma unroll
  for (int i = 0; i < ROW_BLOCKS * SUMS; ++i)
    zero[i % 4] = fmaf(sums[i / SUMS][i % SUMS], 0.0f, zero[i % 4]);
  if (zero[0] + zero[1] + zero[2] + zero[3] == 0.0f) return;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, group = threadIdx.x / 128 - 1;
#pragma unroll
  for (int i = 0; i < ROW_BLOCKS * SUMS; ++i) {
    float& sum = sums[i / SUMS][i % SUMS];
    const int column = i % SUMS / 4 * 8 + lane % 4 * 2 + i % 2;
    if (is_finite(sum) || item.block * COLUMNS + column >= p.K / p.groups) continue;
    const int row = (group * ROW_BLOCKS + i / SUMS) * 64 + warp * 16 + i % 4 / 2 * 8 + lane / 4;
    const int pixel = pixel_of(row, item, p);
    if (pixel >= 0) sum = direct_sum(x, packed, pixel, column, item, p);
  }
}
#endif

// Stores a tile's sums: bias, activation, rounding, and through the warp's scratch to where 16
// bytes lie beside each other.
FN void store(const float (&sums)[ROW_BLOCKS][SUMS], const Item& item,
              const elem* __restrict__ bias, out_elem* __restrict__ y, const HopperParams& p,
              word scratch) {
  enum {
    CHUNK = 16 / OUT_SIZE,  // elements
    ROW_CHUNKS = SCRATCH_COLUMNS / CHUNK,
    PASSES = SCRATCH_COLUMNS / 8,
    STORES = 16 * ROW_CHUNKS / 32,
  };
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, group = threadIdx.x / 128 - 1;
  const int K = p.K / p.groups;
  const int first_channel = item.block * COLUMNS;
#if PARTIAL
  y += (long long)item.part * p.pixels * p.K;
#endif
#pragma unroll
  for (int b = 0; b < ROW_BLOCKS; ++b) {
    const int row0 = (group * ROW_BLOCKS + b) * 64 + warp * 16;  // of the tile
    int pixels[STORES];
#pragma unroll
    for (int i = 0; i < STORES; ++i)
      pixels[i] = pixel_of(row0 + (i * 32 + lane) / ROW_CHUNKS, item, p);
#pragma unroll
    for (int c0 = 0; c0 < COLUMNS; c0 += SCRATCH_COLUMNS) {
      if (first_channel + c0 >= K) continue;
#pragma unroll
      for (int j = 0; j < PASSES; ++j) {
        const int column = c0 + j * 8 + lane % 4 * 2, k = first_channel + column;
        float add[2] = {0.0f, 0.0f};
#if BIAS && !PARTIAL
        if (k < K) add[0] = to_float(bias[item.g * K + k]);
        if (k + 1 < K) add[1] = to_float(bias[item.g * K + k + 1]);
#endif
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = half * 8 + lane / 4;
          float v[2];
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            v[e] = sums[b][(c0 + j * 8) / 2 + half * 2 + e];
            if (!PARTIAL) v[e] = activate(v[e] + add[e]);
          }
          const int at = (j * 8 + lane % 4 * 2) * OUT_SIZE;  // byte in the row
          const word to = scratch + row * 128 + (((at / 16) ^ (row & 7)) * 16) + at % 16;
          if (OUT_SIZE == 4)
            asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(v[0]), "f"(v[1])
                         : "memory");
          else
            asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(two_halves(v[0], v[1]))
                         : "memory");
        }
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < STORES; ++i) {
        const int n = i * 32 + lane, row = n / ROW_CHUNKS, chunk = n % ROW_CHUNKS;
        const int k = first_channel + c0 + chunk * CHUNK;
        word v[4];
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
                     : "r"(scratch + row * 128 + ((chunk ^ (row & 7)) * 16))
                     : "memory");
        if (pixels[i] < 0 || k >= K) continue;
        out_elem* to = y + (long long)pixels[i] * p.K + item.g * K + k;
        if (p.y_aligned) {
          *(uint4*)to = make_uint4(v[0], v[1], v[2], v[3]);
        } else {
#pragma unroll
          for (int e = 0; e < CHUNK; ++e) {
            if (k + e >= K) break;
#if PARTIAL || KIND >= 2
            to[e] = float_of(v[e]);
#else
            to[e] = elem(v[e / 2] >> (e % 2 * 16));
#endif
          }
        }
      }
      __syncwarp();
    }
  }
}

#if KIND >= 2
// A warp's factors of a row block that begins at row `first`, 16 rows, as the units want them in
// registers: 16 x 8 for each product.
FN void load_rows(word (&to)[K_STEPS][4], word rows, int first, wide row_stride) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  const int row = first + (warp * 2 + lane / 8 % 2) * int(row_stride >> 35) + lane % 8;
#pragma unroll
  for (int k = 0; k < K_STEPS; ++k) {
    const int chunk = 2 * k + lane / 16;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[k][0]), "=r"(to[k][1]), "=r"(to[k][2]), "=r"(to[k][3])
                 : "r"(rows + row * 128 + ((chunk ^ (row & 7)) * 16))
                 : "memory");
  }
}
#endif

FN void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
FN void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT>
FN void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
template <int COUNT>
FN void keep(float (&values)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

FN void consume(const elem* __restrict__ x, const char* __restrict__ packed,
                const elem* __restrict__ bias, out_elem* __restrict__ y, const HopperParams& p,
                const Shared& shared, word scratch) {
  const int lane = threadIdx.x % 32, group = threadIdx.x / 128 - 1;
  int blocks[ROW_BLOCKS];  // where they begin among the rows
#if HALO
  const int images = p.R * p.S;
  const wide row_stride = wide(p.lines ? 64 : p.pitch * 8) << 32;
  const int pitch = p.lines ? p.cover_w : p.pitch;
  const int next_row = p.dilation_h * pitch - p.S * p.dilation_w;
  int buffer = 0;
  word parity = 0;
#pragma unroll
  for (int b = 0; b < ROW_BLOCKS; ++b) blocks[b] = block_at(group * ROW_BLOCKS + b, p);
#else
  const int images = 1;
  const wide row_stride = 64ull << 32;
#pragma unroll
  for (int b = 0; b < ROW_BLOCKS; ++b) blocks[b] = (group * ROW_BLOCKS + b) * 64;
#endif
  Ring ring{0, 0};
  for (int number = blockIdx.x; number < p.items; number += gridDim.x) {
    const Item item = item_at(number, p);
    float sums[ROW_BLOCKS][SUMS];
#if KIND == 3
    float products[ROW_BLOCKS][SUMS];
#pragma unroll
    for (int b = 0; b < ROW_BLOCKS; ++b) {
#pragma unroll
      for (int i = 0; i < SUMS; ++i) sums[b][i] = 0.0f;
    }
#else
    float(&products)[ROW_BLOCKS][SUMS] = sums;
#endif
    word done = 0;  // the barrier of the weights last multiplied
    int more = 0;
#pragma unroll 1
    for (int step = item.first; step < item.last; ++step) {
#if HALO
      barrier_wait(x_full(shared, buffer), parity);
      if (KIND < 2) publish();
      const word rows = shared.stages + buffer * p.x_bytes;
      int shift = 0, s = 0;
#else
      const int shift = 0;
#endif
#pragma unroll 1
      for (int image = 0; image < images; ++image) {
        barrier_wait(full(shared, ring.stage), ring.parity);
#if HALO
        const wide right = descriptor(shared.weights + ring.stage * W_BYTES) | (64ull << 32);
#else
        if (KIND < 2) publish();
        const word rows = shared.stages + ring.stage * STAGE_BYTES;
        const wide right = descriptor(rows + X_BYTES) | (64ull << 32);
#endif
#if KIND < 2
        begin_products();
#pragma unroll
        for (int b = 0; b < ROW_BLOCKS; ++b) {
          const wide left = descriptor(rows + (blocks[b] + shift) * 128) | row_stride;
#pragma unroll
          for (int k = 0; k < K_STEPS; ++k)
            wgmma(products[b], left + 2 * k, right + 2 * k, k > 0 || more);
        }
        commit_products();
        wait_products<1>();
        if (done && lane == 0) barrier_arrive(done);
#if HALO
        if (image == 0 && more && lane == 0) barrier_arrive(x_empty(shared, buffer ^ 1));
#endif
        done = empty(shared, ring.stage);
        more = 1;
#else
        word high[ROW_BLOCKS][K_STEPS][4], low[ROW_BLOCKS][K_STEPS][4];
#pragma unroll
        for (int b = 0; b < ROW_BLOCKS; ++b) {
          load_rows(high[b], rows, blocks[b] + shift, row_stride);
#pragma unroll
          for (int i = 0; i < 4 * K_STEPS; ++i) {
            const float v = float_of(high[b][i / 4][i % 4]), rounded = upper(v);
            high[b][i / 4][i % 4] = bits_of(rounded);
            low[b][i / 4][i % 4] = bits_of(v - rounded);
          }
        }
        begin_products();
#pragma unroll
        for (int k = 0; k < K_STEPS; ++k) {
#pragma unroll
          for (int b = 0; b < ROW_BLOCKS; ++b) {
#if KIND == 3
            const wide rest = right + COLUMNS * 128 / 16;
            wgmma(products[b], low[b][k], right + 2 * k, k > 0);
            wgmma(products[b], high[b][k], rest + 2 * k, 1);
            wgmma(products[b], high[b][k], right + 2 * k, 1);
#else
            wgmma(products[b], high[b][k], right + 2 * k, k > 0 || more);
#endif
          }
        }
        commit_products();
        wait_products<0>();
        more = 1;
        if (lane == 0) barrier_arrive(empty(shared, ring.stage));
          // The units read their factors' registers until here.
#pragma unroll
        for (int b = 0; b < ROW_BLOCKS; ++b) {
          keep(products[b]);
#pragma unroll
          for (int i = 0; i < 4 * K_STEPS; ++i) {
            asm volatile("" ::"r"(high[b][i / 4][i % 4]));
            if (KIND == 3) asm volatile("" ::"r"(low[b][i / 4][i % 4]));
          }
#if KIND == 3
#pragma unroll
          for (int i = 0; i < SUMS; ++i) sums[b][i] += products[b][i];
#endif
        }
#endif
        advance(ring);
#if HALO
        shift += p.dilation_w;
        if (++s == p.S) s = 0, shift += next_row;
#endif
      }
#if HALO
#if KIND >= 2
      if (lane == 0) barrier_arrive(x_empty(shared, buffer));
#endif
      buffer ^= 1;
      parity ^= buffer == 0;
#endif
    }
#if KIND < 2
    wait_products<0>();
#pragma unroll
    for (int b = 0; b < ROW_BLOCKS; ++b) keep(sums[b]);
    if (lane == 0) {
      barrier_arrive(done);
#if HALO
      barrier_arrive(x_empty(shared, buffer ^ 1));
#endif
    }
#endif
#if KIND == 3
    mend(sums, item, x, packed, p);
#endif
    store(sums, item, bias, y, p, scratch);
  }
}

extern "C" __global__ void __launch_bounds__(128 * (CONSUMERS + 1), BLOCKS)
    hopper_conv(const elem* __restrict__ x, const char* __restrict__ packed,
                const elem* __restrict__ bias, out_elem* __restrict__ y,
                const __grid_constant__ HopperParams p) {
  extern __shared__ char memory[];
  __shared__ wide barriers[2 * STAGES + 4];
  Shared shared;
  shared.stages = (shared_address(memory) + 1023) & ~1023u;
  shared.full = shared_address(barriers);
  shared.empty = shared.full + 8 * STAGES;
  word scratch = shared.stages + STAGES * STAGE_BYTES;
#if HALO
  shared.x_full = shared.empty + 8 * STAGES;
  shared.x_empty = shared.x_full + 16;
  shared.weights = shared.stages + 2 * p.x_bytes;
  scratch += 2 * p.x_bytes;
#endif
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(full(shared, i), HALO ? 1 : 128 + 1);  // the weights, and fetching threads
      barrier_init(empty(shared, i), 4 * CONSUMERS);      // warps
    }
#if HALO
    for (int i = 0; i < 2; ++i) {
      barrier_init(x_full(shared, i), 128);
      barrier_init(x_empty(shared, i), 4 * CONSUMERS);
    }
#endif
    publish();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
#ifdef PRODUCER_REGISTERS
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(PRODUCER_REGISTERS));
#endif
    produce(x, packed, p, shared);
  } else {
#ifdef CONSUMER_REGISTERS
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMER_REGISTERS));
#endif
    consume(x, packed, bias, y, p, shared, scratch + (threadIdx.x / 32 - 4) * SCRATCH_BYTES);
  }
}
