// SPDX-License-Identifier: Apache-2.0
// Metal Shading Language for kernels on the emulator: threadgroup memory, barriers, simdgroup
// operations and simdgroup matrices, as calls to the executor. Vectors and arithmetic are in
// msl_vec.h. Compiled at run time together with the translated kernel.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "msl_abi.h"

#define MSL_FN inline
#include "msl_half.h"
#include "msl_vec.h"

/// Set by the executor before the first launch. Defined here: one text makes one shared object.
extern "C" {
__attribute__((visibility("default"))) const msl_abi::Executor* msl_executor = nullptr;
}

// Where a call stands in the .metal source: a default argument is evaluated at the caller.
#define MSL_HERE ::msl_abi::Place here = {__builtin_FILE(), __builtin_LINE()}

// A kernel's entry: exports msl_kernel_<name> and opens the function that binds its parameters.
#define MSL_KERNEL(name, limit)                                                          \
  static void msl_run_##name(const ::msl_abi::Arguments&, const ::msl_abi::Thread&);     \
  extern "C" __attribute__((visibility("default")))                                      \
  const ::msl_abi::KernelEntry msl_kernel_##name{msl_run_##name,                         \
                                                 static_cast<std::uint32_t>(limit)};     \
  static void msl_run_##name([[maybe_unused]] const ::msl_abi::Arguments& msl_arguments, \
                             [[maybe_unused]] const ::msl_abi::Thread& msl_thread)

// Threadgroup storage: one block for each threadgroup and declaration.
#define MSL_THREADGROUP(name, ...)                                     \
  static const char msl_key_##name = 0;                                \
  auto& name = ::msl::threadgroup<__VA_ARGS__>(&msl_key_##name, #name, \
                                               {__builtin_FILE(), __builtin_LINE()})

namespace msl {

using namespace msl_abi;

template <class P>
P buffer(const Arguments& arguments, unsigned index) {
  if constexpr (std::is_reference_v<P>)
    return *static_cast<std::remove_reference_t<P>*>(arguments.buffers[index]);
  else
    return static_cast<P>(arguments.buffers[index]);
}

template <class T>
T builtin(std::uint32_t value) {
  return T(value);
}

template <class T>
T builtin(Uint3 p) {
  using Element = std::remove_reference_t<decltype(std::declval<T&>().x)>;
  if constexpr (sizeof(T) == 2 * sizeof(Element))
    return T(Element(p.x), Element(p.y));
  else
    return T(Element(p.x), Element(p.y), Element(p.z));
}
// A position asked for as a scalar is its x.
template <>
inline metal::uint builtin<metal::uint>(Uint3 p) {
  return p.x;
}
template <>
inline metal::ushort builtin<metal::ushort>(Uint3 p) {
  return metal::ushort(p.x);
}

template <class T>
T& threadgroup(const void* key, const char* name, Place place) {
  constexpr std::size_t kAlignment = alignof(T) > 16 ? alignof(T) : 16;
  return *static_cast<T*>(
      msl_executor->threadgroup_memory(key, sizeof(T), kAlignment, name, place));
}

template <class T>
void publish(const T& value, Place place, Rendezvous kind = Rendezvous::exchange) {
  static_assert(sizeof(T) <= kMaxExchange && std::is_trivially_destructible_v<T>);
  msl_executor->meet(kind, &value, sizeof(T), place);
}

/// What `lane` published. Undefined in Metal when that lane is not there; all bits set here, which
/// is a NaN, so that a kernel that uses it shows.
template <class T>
T received(std::uint32_t lane) {
  T value;
  if (lane >= 32 || !msl_executor->read_lane(lane, &value, sizeof(T)))
    std::memset(static_cast<void*>(&value), 0xFF, sizeof(T));
  return value;
}

inline std::uint32_t lane() { return msl_executor->thread().thread_index_in_simdgroup; }

/// Folds what the lanes present have published, in the order of lanes.
template <class T, class Fold>
T fold(const T& value, Fold fold_two, Place place) {
  publish(value, place);
  T result{}, other;
  bool first = true;
  for (std::uint32_t i = 0; i < 32; ++i) {
    if (!msl_executor->read_lane(i, &other, sizeof(T))) continue;
    result = first ? other : fold_two(result, other);
    first = false;
  }
  return result;
}

}  // namespace msl

namespace metal {

inline void threadgroup_barrier(mem_flags flags, MSL_HERE) {
  msl_executor->threadgroup_barrier(flags != mem_flags::mem_none, here);
}
inline void simdgroup_barrier(mem_flags flags, MSL_HERE) {
  msl_executor->meet(
      flags == mem_flags::mem_none ? msl_abi::Rendezvous::execution : msl_abi::Rendezvous::barrier,
      nullptr, 0, here);
}

template <class T>
T simd_shuffle(T value, ushort source, MSL_HERE) {
  msl::publish(value, here);
  return msl::received<T>(source);
}
template <class T>
T simd_broadcast(T value, ushort source, MSL_HERE) {
  return simd_shuffle(value, source, here);
}
template <class T>
T simd_broadcast_first(T value, MSL_HERE) {
  return msl::fold(
      value, [](T first, T) { return first; }, here);
}
template <class T>
T simd_shuffle_xor(T value, ushort mask, MSL_HERE) {
  return simd_shuffle(value, ushort(msl::lane() ^ mask), here);
}
// The lanes at the end keep their own value.
template <class T>
T simd_shuffle_up(T value, ushort delta, MSL_HERE) {
  msl::publish(value, here);
  return msl::lane() < delta ? value : msl::received<T>(msl::lane() - delta);
}
template <class T>
T simd_shuffle_down(T value, ushort delta, MSL_HERE) {
  msl::publish(value, here);
  return msl::lane() + delta >= 32 ? value : msl::received<T>(msl::lane() + delta);
}

template <class T>
T simd_sum(T value, MSL_HERE) {
  return msl::fold(
      value, [](T a, T b) { return T(a + b); }, here);
}
template <class T>
T simd_product(T value, MSL_HERE) {
  return msl::fold(
      value, [](T a, T b) { return T(a * b); }, here);
}
template <class T>
T simd_max(T value, MSL_HERE) {
  return msl::fold(
      value, [](T a, T b) { return T(max(a, b)); }, here);
}
template <class T>
T simd_min(T value, MSL_HERE) {
  return msl::fold(
      value, [](T a, T b) { return T(min(a, b)); }, here);
}
inline bool simd_any(bool value, MSL_HERE) {
  return msl::fold(
      value, [](bool a, bool b) { return a || b; }, here);
}
inline bool simd_all(bool value, MSL_HERE) {
  return msl::fold(
      value, [](bool a, bool b) { return a && b; }, here);
}
inline bool simd_is_first(MSL_HERE) {
  return simd_broadcast_first(msl::lane(), here) == msl::lane();
}

/// An 8x8 matrix spread over the 32 lanes of a simdgroup, two neighbours of a row in each, as
/// Apple's GPUs hold it. Every operation needs all lanes, or is undefined; here it is an error.
template <class T, int Columns, int Rows>
class simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "simdgroup_matrix exists as 8x8 only");

 public:
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal) {
    for (int i = 0; i < 2; ++i) own[i] = row() == column() + i ? diagonal : T(0);
  }

  /// Lanes form 2x2 quadrants of 8 lanes, each a 4x4 block of the matrix.
  static int row() { return int(msl::lane() >> 4) * 4 + int(msl::lane() >> 1 & 3); }
  static int column() { return int(msl::lane() >> 3 & 1) * 4 + int(msl::lane() & 1) * 2; }
  static std::uint32_t holder(int r, int c) {
    return std::uint32_t((r >> 2) * 16 + (c >> 2) * 8 + (r & 3) * 2 + (c >> 1 & 1));
  }

  T own[2];  // not Metal's: elements (row(), column()) and its right neighbour
};

using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <class T, int Columns, int Rows>
simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Columns, Rows> matrix;
  matrix.own[0] = matrix.own[1] = value;
  return matrix;
}

/// Calls visit(element's index in memory, element) for what this lane holds.
template <class Matrix, class Visit>
void simdgroup_each(Matrix& matrix, ulong elements_per_row, ulong2 origin, bool transpose,
                    Visit visit, ::msl_abi::Place here) {
  msl_executor->meet(::msl_abi::Rendezvous::matrix, nullptr, 0, here);
  for (int i = 0; i < 2; ++i) {
    const ulong r = ulong(matrix.row()), c = ulong(matrix.column() + i);
    const ulong y = transpose ? c : r, x = transpose ? r : c;
    visit((ulong(origin.y) + y) * elements_per_row + ulong(origin.x) + x, matrix.own[i]);
  }
}

template <class T>
void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, const T* source, ulong elements_per_row = 8,
                    ulong2 matrix_origin = ulong2(0, 0), bool transpose_matrix = false, MSL_HERE) {
  simdgroup_each(
      matrix, elements_per_row, matrix_origin, transpose_matrix,
      [&](ulong index, T& element) { element = source[index]; }, here);
}

template <class T>
void simdgroup_store(simdgroup_matrix<T, 8, 8> matrix, T* target, ulong elements_per_row = 8,
                     ulong2 matrix_origin = ulong2(0, 0), bool transpose_matrix = false, MSL_HERE) {
  simdgroup_each(
      matrix, elements_per_row, matrix_origin, transpose_matrix,
      [&](ulong index, T& element) { target[index] = element; }, here);
}

/// d = a b + c, summed in f32 whatever the types, and rounded once.
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                                   simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c,
                                   MSL_HERE) {
  struct Factors {
    A a[2];
    B b[2];
  };
  msl::publish(Factors{{a.own[0], a.own[1]}, {b.own[0], b.own[1]}}, here,
               msl_abi::Rendezvous::matrix);
  float sum[2] = {float(c.own[0]), float(c.own[1])};
  for (int k = 0; k < 8; ++k) {
    const float left = float(msl::received<Factors>(a.holder(a.row(), k)).a[k & 1]);
    const auto right = msl::received<Factors>(b.holder(k, b.column()));
    for (int i = 0; i < 2; ++i) sum[i] += left * float(right.b[i]);
  }
  for (int i = 0; i < 2; ++i) d.own[i] = D(sum[i]);
}

template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                        simdgroup_matrix<B, 8, 8> b, MSL_HERE) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8, 8>(0), here);
}

template <class T>
simdgroup_matrix<T, 8, 8> operator*(simdgroup_matrix<T, 8, 8> a, simdgroup_matrix<T, 8, 8> b) {
  simdgroup_matrix<T, 8, 8> product;
  simdgroup_multiply(product, a, b);
  return product;
}

}  // namespace metal
