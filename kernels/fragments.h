// SPDX-License-Identifier: Apache-2.0
// Products of matrices across a simdgroup: 16 x 8 sums from 16 x 8 and 8 x 8 factors. Here they are
// Metal's 8x8 matrices, which multiply in f32. The front end has, for CUDA, overloads of these
// functions that are more special and are the instructions of its matrix units.
#pragma once
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;

// How many products stand for one of f32 where units multiply fewer bits than that: 0, one, since
// the factors were halves; 1, one of rounded factors (tf32); 3, those of their upper and lower
// parts that count, which is f32's accuracy.
template <int COUNT>
struct Terms {
  enum { count = COUNT };
};

// Factors lie [reduction][row or column] in threadgroup memory, `row` floats from one to the next.
template <class M>
static inline void load_left(thread M (&left)[2], threadgroup const float* from, int row) {
  simdgroup_load(left[0], from, ulong(row), ulong2(0), true);
  simdgroup_load(left[1], from + 8, ulong(row), ulong2(0), true);
}
template <class M>
static inline void load_right(thread M& right, threadgroup const float* from, int row) {
  simdgroup_load(right, from, ulong(row));
}

// The same from rows of 8 factors of the reduction each, which follow each other.
template <class M>
static inline void load_left_packed(thread M (&left)[2], device const float* from) {
  simdgroup_load(left[0], from, 8);
  simdgroup_load(left[1], from + 64, 8);
}

template <class M>
static inline void store_sums(thread const M& sums, threadgroup float* to, int row) {
  simdgroup_store(sums, to, ulong(row));
}

// Units that cut off what they add up let a sum grow in `products` for a slab only, from
// begin_products to end_products; others add to `sums` at once.
template <class M>
static inline void begin_products(thread M (&products)[2]) {}
template <class M, class T>
static inline void multiply_add(thread M (&sums)[2], thread M (&products)[2],
                                thread const M (&left)[2], thread const M& right, T terms) {
  simdgroup_multiply_accumulate(sums[0], left[0], right, sums[0]);
  simdgroup_multiply_accumulate(sums[1], left[1], right, sums[1]);
}
template <class M>
static inline void end_products(thread M (&sums)[2], thread const M (&products)[2]) {}
