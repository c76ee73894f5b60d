// SPDX-License-Identifier: Apache-2.0
// The Metal dialect for `clang -fsyntax-only` (16 or newer): distinct address spaces, declarations
// only, nothing of C++'s library. What is missing here is an error there, so a kernel can use only
// what the other targets have, too.
#pragma once

#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define thread
#define kernel

using half = _Float16;
#if __clang_major__ >= 18
using bfloat = __bf16;
#else  // can only be stored there, not computed with
using bfloat = half;
#endif
using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using size_t = unsigned long;
using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = uchar;
using uint16_t = ushort;
using uint32_t = uint;
using uint64_t = ulong;

template <class To, class From>
To as_type(From);

#define INFINITY __builtin_huge_valf()
#define NAN __builtin_nanf("")
#define FLT_MAX 3.402823466e+38f

namespace metal {

// ---- vectors: clang's own, since a class cannot be loaded from another address space ----

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

#define MSL_NAMES(T)      \
  using T##2 = vec<T, 2>; \
  using T##3 = vec<T, 3>; \
  using T##4 = vec<T, 4>;
MSL_NAMES(float)
MSL_NAMES(half)
MSL_NAMES(bfloat)
MSL_NAMES(int)
MSL_NAMES(uint)
MSL_NAMES(short)
MSL_NAMES(ushort)
MSL_NAMES(char)
MSL_NAMES(uchar)
MSL_NAMES(long)
MSL_NAMES(ulong)
MSL_NAMES(bool)
#undef MSL_NAMES

template <class T>
struct Lanes {
  static constexpr int count = 1;
};
template <class T, int N>
struct Lanes<T __attribute__((ext_vector_type(N)))> {
  static constexpr int count = N;
};

template <class... Parts>
struct Sum {
  static constexpr int lanes = 0;
};
template <class First, class... Rest>
struct Sum<First, Rest...> {
  static constexpr int lanes = Lanes<First>::count + Sum<Rest...>::lanes;
};

/// float4(a, b, c, d) in the translated text.
template <class V, class... Parts>
constexpr V make(Parts...) {
  static_assert(Sum<Parts...>::lanes == Lanes<V>::count || Sum<Parts...>::lanes == 1,
                "the components do not add up to those of the vector");
  return V{};
}

// ---- functions: both arguments of one type, as Metal's overloads have it ----

#define MSL_UNARY(name) \
  template <class T>    \
  T name(T);
MSL_UNARY(abs)
MSL_UNARY(ceil)
MSL_UNARY(cos)
MSL_UNARY(exp)
MSL_UNARY(exp2)
MSL_UNARY(fabs)
MSL_UNARY(floor)
MSL_UNARY(log)
MSL_UNARY(log2)
MSL_UNARY(rint)
MSL_UNARY(round)
MSL_UNARY(rsqrt)
MSL_UNARY(sin)
MSL_UNARY(sqrt)
MSL_UNARY(tanh)
MSL_UNARY(trunc)
namespace precise {
MSL_UNARY(exp)
MSL_UNARY(exp2)
MSL_UNARY(log)
MSL_UNARY(log2)
MSL_UNARY(sqrt)
MSL_UNARY(rsqrt)
MSL_UNARY(tanh)
}  // namespace precise
namespace fast {
using namespace precise;
}
MSL_UNARY(simd_sum)
MSL_UNARY(simd_product)
MSL_UNARY(simd_max)
MSL_UNARY(simd_min)
MSL_UNARY(simd_broadcast_first)
#undef MSL_UNARY

template <class T>
T min(T, T);
template <class T>
T max(T, T);
template <class T>
T clamp(T, T, T);
template <class T>
T fma(T, T, T);
template <class T, int N>
vec<T, N> min(vec<T, N>, T);
template <class T, int N>
vec<T, N> max(vec<T, N>, T);
template <class T, int N>
vec<T, N> clamp(vec<T, N>, T, T);
template <class T, int N>
T dot(vec<T, N>, vec<T, N>);
template <class T>
T select(T if_false, T if_true, bool);
float pow(float, float);
bool isnan(float);
bool isinf(float);
bool isfinite(float);
uint mulhi(uint, uint);

// ---- what threads do together ----

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);

template <class T>
T simd_shuffle(T, ushort lane);
template <class T>
T simd_shuffle_up(T, ushort delta);
template <class T>
T simd_shuffle_down(T, ushort delta);
template <class T>
T simd_shuffle_xor(T, ushort mask);
template <class T>
T simd_broadcast(T, ushort lane);
bool simd_any(bool);
bool simd_all(bool);
bool simd_is_first();

template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "Metal has 8x8 matrices only");
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal);
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Rows, int Columns>
simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T);
#define MSL_MEMORY(space)                                                                \
  template <class T>                                                                     \
  void simdgroup_load(simdgroup_matrix<T, 8, 8>&, const space T*, ulong = 8, ulong2 = 0, \
                      bool = false);                                                     \
  template <class T>                                                                     \
  void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T*, ulong = 8, ulong2 = 0, bool = false);
MSL_MEMORY(device)
MSL_MEMORY(threadgroup)
#undef MSL_MEMORY
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>,
                                   simdgroup_matrix<B, 8, 8>, simdgroup_matrix<C, 8, 8>);
template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>,
                        simdgroup_matrix<B, 8, 8>);
template <class A, class B>
simdgroup_matrix<A, 8, 8> operator*(simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>);

}  // namespace metal
