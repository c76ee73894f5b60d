// SPDX-License-Identifier: Apache-2.0
// The Metal dialect for NVRTC, without any header of the toolkit, so that a machine that has only
// the library will do. Compile with --std=c++20 --device-as-default-execution-space, for sm_80 or
// newer. Functions across a simdgroup expect all of its 32 lanes.
#pragma once

#define MSL_FN __device__ __forceinline__

namespace msl {

MSL_FN unsigned float_bits(float value) { return __float_as_uint(value); }
MSL_FN float float_of(unsigned bits) { return __uint_as_float(bits); }

MSL_FN float half_value(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
MSL_FN unsigned short half_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
MSL_FN unsigned short bfloat_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
// Rounded once; the product of two halves is exact in float, the sum is not.
MSL_FN float half_fma(float a, float b, float c) {
  unsigned short bits;
  asm("fma.rn.f16 %0, %1, %2, %3;"
      : "=h"(bits)
      : "h"(half_bits(a)), "h"(half_bits(b)), "h"(half_bits(c)));
  return half_value(bits);
}

}  // namespace msl

#include "msl_vec.h"

// ---- built-in values of a kernel's parameters ----

namespace msl {

struct Position {
  unsigned x, y, z;
};
template <class D>
MSL_FN Position position(D d) {
  return {d.x, d.y, d.z};
}

MSL_FN Position threadgroup_position_in_grid() { return position(blockIdx); }
MSL_FN Position thread_position_in_threadgroup() { return position(threadIdx); }
MSL_FN Position threads_per_threadgroup() { return position(blockDim); }
MSL_FN Position threadgroups_per_grid() { return position(gridDim); }
MSL_FN Position threads_per_grid() {
  return {gridDim.x * blockDim.x, gridDim.y * blockDim.y, gridDim.z * blockDim.z};
}
MSL_FN Position thread_position_in_grid() {
  return {blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y,
          blockIdx.z * blockDim.z + threadIdx.z};
}
MSL_FN unsigned thread_index_in_threadgroup() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
MSL_FN unsigned thread_index_in_simdgroup() {
  unsigned lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}
MSL_FN unsigned simdgroup_index_in_threadgroup() { return thread_index_in_threadgroup() / 32; }
MSL_FN unsigned simdgroups_per_threadgroup() {
  return (blockDim.x * blockDim.y * blockDim.z + 31) / 32;
}
MSL_FN unsigned threads_per_simdgroup() { return 32; }

template <class T>
struct Builtin {
  MSL_FN static T from(Position p) { return T(p.x); }
  MSL_FN static T from(unsigned index) { return T(index); }
};
template <class T>
struct Builtin<metal::vec<T, 2>> {
  MSL_FN static metal::vec<T, 2> from(Position p) { return {p.x, p.y}; }
};
template <class T>
struct Builtin<metal::vec<T, 3>> {
  MSL_FN static metal::vec<T, 3> from(Position p) { return {p.x, p.y, p.z}; }
};
template <class T, class Value>
MSL_FN T builtin(Value value) {
  return Builtin<T>::from(value);
}

}  // namespace msl

namespace metal {

// ---- barriers ----

MSL_FN void threadgroup_barrier(mem_flags) { __syncthreads(); }
MSL_FN void simdgroup_barrier(mem_flags) { __syncwarp(); }

// ---- values across a simdgroup; a value of any size moves as 32-bit words ----

namespace detail {
constexpr unsigned kAllLanes = ~0u;

template <class T, class Move>
MSL_FN T move(const T& value, Move move_word) {
  constexpr int kWords = (sizeof(T) + 3) / 4;
  unsigned words[kWords] = {};
  memcpy(words, &value, sizeof(T));
  for (int i = 0; i < kWords; ++i) words[i] = move_word(words[i]);
  T moved;
  memcpy(&moved, words, sizeof(T));
  return moved;
}

template <class T, class Combine>
MSL_FN T reduce(T value, Combine combine) {
  for (ushort mask = 16; mask > 0; mask = ushort(mask / 2)) {
    value = combine(value,
                    move(value, [=](unsigned w) { return __shfl_xor_sync(kAllLanes, w, mask); }));
  }
  return value;
}
}  // namespace detail

template <class T>
MSL_FN T simd_shuffle(T value, ushort lane) {
  return detail::move(value, [=](unsigned w) { return __shfl_sync(detail::kAllLanes, w, lane); });
}
template <class T>
MSL_FN T simd_broadcast(T value, ushort lane) {
  return simd_shuffle(value, lane);
}
template <class T>
MSL_FN T simd_broadcast_first(T value) {
  return simd_shuffle(value, 0);
}
template <class T>
MSL_FN T simd_shuffle_xor(T value, ushort mask) {
  return detail::move(value,
                      [=](unsigned w) { return __shfl_xor_sync(detail::kAllLanes, w, mask); });
}
template <class T>
MSL_FN T simd_shuffle_up(T value, ushort delta) {
  return detail::move(value,
                      [=](unsigned w) { return __shfl_up_sync(detail::kAllLanes, w, delta); });
}
template <class T>
MSL_FN T simd_shuffle_down(T value, ushort delta) {
  return detail::move(value,
                      [=](unsigned w) { return __shfl_down_sync(detail::kAllLanes, w, delta); });
}

template <class T>
MSL_FN T simd_sum(T value) {
  return detail::reduce(value, [](T a, T b) { return T(a + b); });
}
template <class T>
MSL_FN T simd_product(T value) {
  return detail::reduce(value, [](T a, T b) { return T(a * b); });
}
template <class T>
MSL_FN T simd_max(T value) {
  return detail::reduce(value, [](T a, T b) { return max(a, b); });
}
template <class T>
MSL_FN T simd_min(T value) {
  return detail::reduce(value, [](T a, T b) { return min(a, b); });
}
MSL_FN bool simd_any(bool value) { return __any_sync(detail::kAllLanes, value); }
MSL_FN bool simd_all(bool value) { return __all_sync(detail::kAllLanes, value); }
MSL_FN bool simd_is_first() { return msl::thread_index_in_simdgroup() == 0; }

// ---- 8x8 matrices across a simdgroup ----

// Each lane holds two neighbours of a row, as the fragments of PTX's mma lie, so that a product of
// halves is a single instruction.
template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "Metal has 8x8 matrices only");
  T held[2];

  simdgroup_matrix() = default;
  MSL_FN explicit simdgroup_matrix(T diagonal) {
    for (int i = 0; i < 2; ++i) held[i] = row() == column() + i ? diagonal : T(0);
  }
  MSL_FN static unsigned row() { return msl::thread_index_in_simdgroup() / 4; }
  MSL_FN static unsigned column() { return msl::thread_index_in_simdgroup() % 4 * 2; }
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Rows, int Columns>
MSL_FN simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Rows, Columns> m;
  m.held[0] = m.held[1] = value;
  return m;
}

namespace detail {
// Where element i of a lane lies in memory.
template <class M>
MSL_FN ulong offset(int i, ulong elements_per_row, ulong2 origin, bool transpose) {
  const ulong row = M::row(), column = M::column() + unsigned(i);
  return (origin.y + (transpose ? column : row)) * elements_per_row + origin.x +
         (transpose ? row : column);
}
}  // namespace detail

template <class T>
MSL_FN void simdgroup_load(simdgroup_matrix<T, 8, 8>& d, const T* source,
                           ulong elements_per_row = 8, ulong2 matrix_origin = ulong2(0),
                           bool transpose_matrix = false) {
  using M = simdgroup_matrix<T, 8, 8>;
  for (int i = 0; i < 2; ++i) {
    d.held[i] = source[detail::offset<M>(i, elements_per_row, matrix_origin, transpose_matrix)];
  }
}
template <class T>
MSL_FN void simdgroup_store(simdgroup_matrix<T, 8, 8> a, T* destination, ulong elements_per_row = 8,
                            ulong2 matrix_origin = ulong2(0), bool transpose_matrix = false) {
  using M = simdgroup_matrix<T, 8, 8>;
  for (int i = 0; i < 2; ++i) {
    destination[detail::offset<M>(i, elements_per_row, matrix_origin, transpose_matrix)] =
        a.held[i];
  }
}

namespace detail {
template <class F>
MSL_FN unsigned pair(const simdgroup_matrix<small_float<F>, 8, 8>& m) {
  return unsigned(m.held[0].bits) | unsigned(m.held[1].bits) << 16;
}
MSL_FN unsigned transposed(unsigned pair) {
  unsigned out;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
  return out;
}

// d = a b + c. The instruction has 16 rows; the lower 8 are zero here.
#define MSL_MMA(type)                                               \
  unused_rows(d, [&](float& d0, float& d1, float& d2, float& d3) {  \
    asm("mma.sync.aligned.m16n8k8.row.col.f32." type "." type       \
        ".f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %8, %9, %9};"  \
        : "=f"(d0), "=f"(d1), "=f"(d2), "=f"(d3)                    \
        : "r"(a), "r"(0), "r"(b), "f"(c[0]), "f"(c[1]), "f"(0.0f)); \
  })
template <class Instruction>
MSL_FN void unused_rows(float (&d)[2], Instruction instruction) {
  float d0, d1, below0, below1;
  instruction(d0, d1, below0, below1);
  d[0] = d0;
  d[1] = d1;
}
MSL_FN void multiply(half_format, float (&d)[2], unsigned a, unsigned b, const float (&c)[2]) {
  MSL_MMA("f16");
}
MSL_FN void multiply(bfloat_format, float (&d)[2], unsigned a, unsigned b, const float (&c)[2]) {
  MSL_MMA("bf16");
}
#undef MSL_MMA

// Products of floats in full precision: no matrix unit, each lane gathers a row and two columns.
MSL_FN void multiply(float (&d)[2], const float (&a)[2], const float (&b)[2], const float (&c)[2]) {
  const unsigned lane = msl::thread_index_in_simdgroup();
  const unsigned row = lane / 4, column = lane % 4;
  float sum[2] = {c[0], c[1]};
#pragma unroll
  for (unsigned k = 0; k < 8; ++k) {
    const float factor = __shfl_sync(kAllLanes, a[k % 2], row * 4 + k / 2);
    for (int i = 0; i < 2; ++i) {
      sum[i] = ::fmaf(factor, __shfl_sync(kAllLanes, b[i], k * 4 + column), sum[i]);
    }
  }
  d[0] = sum[0];
  d[1] = sum[1];
}
}  // namespace detail

template <class D, class F, class C>
MSL_FN void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d,
                                          simdgroup_matrix<small_float<F>, 8, 8> a,
                                          simdgroup_matrix<small_float<F>, 8, 8> b,
                                          simdgroup_matrix<C, 8, 8> c) {
  const float add[2] = {float(c.held[0]), float(c.held[1])};
  float sum[2];
  detail::multiply(F(), sum, detail::pair(a), detail::transposed(detail::pair(b)), add);
  for (int i = 0; i < 2; ++i) d.held[i] = D(sum[i]);
}
MSL_FN void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a,
                                          simdgroup_float8x8 b, simdgroup_float8x8 c) {
  detail::multiply(d.held, a.held, b.held, c.held);
}
template <class D, class T>
MSL_FN void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<T, 8, 8> a,
                               simdgroup_matrix<T, 8, 8> b) {
  simdgroup_multiply_accumulate(d, a, b, simdgroup_matrix<D, 8, 8>(D(0)));
}
template <class T>
MSL_FN simdgroup_matrix<T, 8, 8> operator*(simdgroup_matrix<T, 8, 8> a,
                                           simdgroup_matrix<T, 8, 8> b) {
  simdgroup_matrix<T, 8, 8> d;
  simdgroup_multiply(d, a, b);
  return d;
}

// ---- kernels/fragments.h by mma.sync ----

// Its fragments of 16x8 and 8x8 floats are two 8x8 matrices and one, but for the order of the
// reduction, which is the same in both factors: a lane's two neighbours take the places of k and
// k + 4. The right factor is held transposed.
MSL_FN void load_right(simdgroup_float8x8& right, const float* from, int row) {
  const int at = int(right.column()) * row + int(right.row());
  right.held[0] = from[at];
  right.held[1] = from[at + row];
}
MSL_FN void load_left(simdgroup_float8x8 (&left)[2], const float* from, int row) {
  load_right(left[0], from, row);
  load_right(left[1], from + 8, row);
}

// A lane's two are neighbours, as they are held.
MSL_FN void load_left_packed(simdgroup_float8x8 (&left)[2], const float* from) {
  for (int i = 0; i < 2; ++i) {
    const float2 v = *(const float2*)(from + i * 64 + msl::thread_index_in_simdgroup() * 2);
    left[i].held[0] = v.x;
    left[i].held[1] = v.y;
  }
}
MSL_FN void store_sums(const simdgroup_float8x8& sums, float* to, int row) {
  *(float2*)(to + (int(sums.row()) * row + int(sums.column()))) =
      float2(sums.held[0], sums.held[1]);
}

namespace detail {
MSL_FN void multiply_tf32(simdgroup_float8x8 (&d)[2], const unsigned (&a)[4],
                          const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0].held[0]), "+f"(d[0].held[1]), "+f"(d[1].held[0]), "+f"(d[1].held[1])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The upper 11 bits of a float's significand, rounded; the rest of a finite one is exact.
MSL_FN unsigned upper(unsigned bits) { return (bits + 0x1000u) & 0xFFFFE000u; }
MSL_FN unsigned lower(unsigned bits) {
  return msl::float_bits(msl::float_of(bits) - msl::float_of(upper(bits)));
}
// As tf32, infinities and NaN as they are.
MSL_FN unsigned rounded(unsigned bits) {
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : upper(bits);
}
}  // namespace detail

// The units cut off what they add up, all to one side: over a whole reduction that costs up to 600
// units in the last place (measured on an H100), over a slab two.
MSL_FN void begin_products(simdgroup_float8x8 (&products)[2]) {
  for (int i = 0; i < 4; ++i) products[i / 2].held[i % 2] = 0.0f;
}
MSL_FN void end_products(simdgroup_float8x8 (&sums)[2], const simdgroup_float8x8 (&products)[2]) {
  for (int i = 0; i < 4; ++i) sums[i / 2].held[i % 2] += products[i / 2].held[i % 2];
}
template <class T>
MSL_FN void multiply_add(simdgroup_float8x8 (&)[2], simdgroup_float8x8 (&products)[2],
                         const simdgroup_float8x8 (&left)[2], const simdgroup_float8x8& right, T) {
  unsigned a[4], b[2], upper_a[4], lower_a[4], upper_b[2], lower_b[2];
  for (int i = 0; i < 4; ++i) {
    a[i] = msl::float_bits(left[i % 2].held[i / 2]);
    upper_a[i] = T::count == 1 ? detail::rounded(a[i]) : detail::upper(a[i]);
    lower_a[i] = detail::lower(a[i]);
  }
  for (int i = 0; i < 2; ++i) {
    b[i] = msl::float_bits(right.held[i]);
    upper_b[i] = T::count == 1 ? detail::rounded(b[i]) : detail::upper(b[i]);
    lower_b[i] = detail::lower(b[i]);
  }
  if constexpr (T::count == 0) return detail::multiply_tf32(products, a, b);
  if constexpr (T::count == 3) {  // the small ones first
    detail::multiply_tf32(products, lower_a, upper_b);
    detail::multiply_tf32(products, upper_a, lower_b);
  }
  detail::multiply_tf32(products, upper_a, upper_b);
}

}  // namespace metal
