// SPDX-License-Identifier: Apache-2.0
// Shared memory and its barriers, as the kernels of conv.cu use them: what is PTX, not C++. Macros:
// see conv.cu.
#if PARTIAL || KIND >= 2
typedef float out_elem;
enum { OUT_SIZE = 4 };
#else
typedef elem out_elem;
enum { OUT_SIZE = 2 };
#endif

enum {
  IN_CHUNK = 16 / SIZE,  // elements of 16 bytes
  ROWS = 64 * ROW_BLOCKS * CONSUMERS,
  WEIGHT_PLANES = KIND == 3 ? 2 : 1,
  X_BYTES = ROWS * 128,
  W_BYTES = COLUMNS * 128 * WEIGHT_PLANES,
  STAGE_BYTES = HALO ? W_BYTES : X_BYTES + W_BYTES,
  // Of a row, 32 bytes for each product of a tap: rows may be filled in part where channels are
  // few.
  X_CHUNKS = 2 * K_STEPS,
  GATHERS = ROWS / 16,  // rows that a producing thread fetches a chunk of
  SUMS = COLUMNS / 2,   // of a thread, for each row block
  // Sums pass through shared memory this many columns at a time.
  SCRATCH_COLUMNS = COLUMNS % (128 / OUT_SIZE) == 0  ? 128 / OUT_SIZE
                    : COLUMNS % (64 / OUT_SIZE) == 0 ? 64 / OUT_SIZE
                                                     : 32 / OUT_SIZE,
  SCRATCH_BYTES = 16 * 128,  // of a warp
};

FN word shared_address(const void* p) { return word(__cvta_generic_to_shared(p)); }

FN void barrier_init(word barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count));
}
FN void barrier_arrive(word barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
FN void barrier_expect(word barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
FN bool barrier_done(word barrier, word parity) {
  word done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
FN void barrier_wait(word barrier, word parity) {
  while (!barrier_done(barrier, parity)) {
  }
}
FN void copy_bulk(word to, const void* from, int bytes, word barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
      : "memory");
}
// 16 bytes, or zeros.
FN void copy_chunk(word to, const void* from, bool exists) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
               "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0)
               : "memory");
}
// The same, also from where 16 bytes may not be read at once.
FN void copy_or_load(word to, const elem* from, bool exists, const HopperParams& p) {
  if (p.x_aligned) {
    copy_chunk(to, from, exists);
    return;
  }
  word v[4] = {0, 0, 0, 0};
  if (exists) {
#pragma unroll
    for (int j = 0; j < IN_CHUNK; ++j) {
#if KIND < 2
      v[j / 2] |= word(from[j]) << (j % 2 * 16);
#else
      v[j] = bits_of(from[j]);
#endif
    }
  }
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v[0]), "r"(v[1]),
               "r"(v[2]), "r"(v[3])
               : "memory");
}
// What ordinary stores and cp.async wrote, for the matrix units to read.
FN void publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Rows of 128 bytes with the 128-byte swizzle, without the distance of 8 rows to the next.
FN wide descriptor(word address) {
  return wide((address & 0x3FFFF) >> 4) | (1ull << 16) | (1ull << 62);
}
