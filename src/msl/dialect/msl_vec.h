// SPDX-License-Identifier: Apache-2.0
// Metal's scalar and vector types and their functions, for CUDA and for the emulator. Whoever
// includes this has defined MSL_FN, the specifiers of a function of the target, and in namespace
// msl: half_bits, half_value, bfloat_bits, float_bits, float_of. Of the C library it needs the
// float functions of <math.h> (NVRTC knows them by itself).
#pragma once

#ifndef INFINITY
#define INFINITY __builtin_bit_cast(float, 0x7F800000u)
#endif
#ifndef NAN
#define NAN __builtin_bit_cast(float, 0x7FC00000u)
#endif
#ifndef FLT_MAX
#define FLT_MAX 3.402823466e+38f
#endif

namespace metal {

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = uchar;
using uint16_t = ushort;
using uint32_t = uint;
using uint64_t = ulong;
using size_t = decltype(sizeof 0);

// ---- half and bfloat: stored in 16 bits, computed in float, rounded after every operation ----

struct half_format {
  MSL_FN static ushort encode(float value) { return msl::half_bits(value); }
  MSL_FN static float decode(ushort bits) { return msl::half_value(bits); }
};
struct bfloat_format {
  MSL_FN static ushort encode(float value) { return msl::bfloat_bits(value); }
  MSL_FN static float decode(ushort bits) { return msl::float_of(uint(bits) << 16); }
};

template <class Format>
struct small_float {
  ushort bits;

  small_float() = default;
  template <class S>
  MSL_FN explicit small_float(S value) : bits(Format::encode(float(value))) {}
  MSL_FN operator float() const { return Format::decode(bits); }
  MSL_FN small_float operator-() const {
    small_float negative;
    negative.bits = ushort(bits ^ 0x8000u);
    return negative;
  }
};
using half = small_float<half_format>;
using bfloat = small_float<bfloat_format>;

#define MSL_OPERATOR(op)                                                  \
  template <class F>                                                      \
  MSL_FN small_float<F> operator op(small_float<F> a, small_float<F> b) { \
    return small_float<F>(float(a) op float(b));                          \
  }                                                                       \
  template <class F, class S>                                             \
  MSL_FN small_float<F>& operator op##=(small_float<F>& a, S b) {         \
    return a = small_float<F>(float(a) op float(b));                      \
  }
MSL_OPERATOR(+)
MSL_OPERATOR(-)
MSL_OPERATOR(*)
MSL_OPERATOR(/)
#undef MSL_OPERATOR

// ---- what is a scalar ----

#define MSL_FLOATING(X) X(float) X(half) X(bfloat)
#define MSL_INTEGRAL(X) X(int) X(uint) X(short) X(ushort) X(char) X(uchar) X(long) X(ulong)

template <class T>
inline constexpr bool is_floating = false;
template <class T>
inline constexpr bool is_integral = false;
#define MSL_IS(T) \
  template <>     \
  inline constexpr bool is_floating<T> = true;
MSL_FLOATING(MSL_IS)
#undef MSL_IS
#define MSL_IS(T) \
  template <>     \
  inline constexpr bool is_integral<T> = true;
MSL_INTEGRAL(MSL_IS)
MSL_IS(bool)
#undef MSL_IS
template <class T>
concept scalar = is_floating<T> || is_integral<T>;

// ---- vectors: x, y, z, w and [i]; aligned as in Metal, so vec<T, 3> takes the room of four ----

template <class T, int N>
struct vec;

template <class T>
inline constexpr int lanes = scalar<T> ? 1 : 0;
template <class T, int N>
inline constexpr int lanes<vec<T, N>> = N;

#define MSL_VEC_COMMON(N)                                                                         \
  vec() = default;                                                                                \
  MSL_FN T& operator[](int i) { return (&x)[i]; }                                                 \
  MSL_FN const T& operator[](int i) const { return (&x)[i]; }                                     \
  template <class U>                                                                              \
  MSL_FN explicit vec(const vec<U, N>& other) {                                                   \
    for (int i = 0; i < N; ++i) (*this)[i] = T(other[i]);                                         \
  }                                                                                               \
  /* Joined from smaller ones: float4(float3, float), float4(float2, float2). */                  \
  template <class... Parts>                                                                       \
  requires(sizeof...(Parts) > 1 && sizeof...(Parts) < N && (lanes<Parts> + ...) == N) MSL_FN vec( \
      const Parts&... parts) {                                                                    \
    int at = 0;                                                                                   \
    (append(at, parts), ...);                                                                     \
  }                                                                                               \
                                                                                                  \
 private:                                                                                         \
  template <scalar S>                                                                             \
  MSL_FN void append(int& at, S value) {                                                          \
    (*this)[at++] = T(value);                                                                     \
  }                                                                                               \
  template <class U, int M>                                                                       \
  MSL_FN void append(int& at, const vec<U, M>& part) {                                            \
    for (int i = 0; i < M; ++i) (*this)[at++] = T(part[i]);                                       \
  }                                                                                               \
                                                                                                  \
 public:

template <class T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
  T x, y;
  MSL_VEC_COMMON(2)
  template <scalar S>
  MSL_FN constexpr vec(S s) : x(T(s)), y(T(s)) {}
  template <scalar A, scalar B>
  MSL_FN constexpr vec(A a, B b) : x(T(a)), y(T(b)) {}
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 3> {
  T x, y, z;
  MSL_VEC_COMMON(3)
  template <scalar S>
  MSL_FN constexpr vec(S s) : x(T(s)), y(T(s)), z(T(s)) {}
  template <scalar A, scalar B, scalar C>
  MSL_FN constexpr vec(A a, B b, C c) : x(T(a)), y(T(b)), z(T(c)) {}
};

template <class T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
  T x, y, z, w;
  MSL_VEC_COMMON(4)
  template <scalar S>
  MSL_FN constexpr vec(S s) : x(T(s)), y(T(s)), z(T(s)), w(T(s)) {}
  template <scalar A, scalar B, scalar C, scalar D>
  MSL_FN constexpr vec(A a, B b, C c, D d) : x(T(a)), y(T(b)), z(T(c)), w(T(d)) {}
};
#undef MSL_VEC_COMMON

#define MSL_OPERATOR(op)                                                 \
  template <class T, int N>                                              \
  MSL_FN vec<T, N> operator op(const vec<T, N>& a, const vec<T, N>& b) { \
    vec<T, N> r;                                                         \
    for (int i = 0; i < N; ++i) r[i] = T(a[i] op b[i]);                  \
    return r;                                                            \
  }                                                                      \
  template <class T, int N, scalar S>                                    \
  MSL_FN vec<T, N> operator op(const vec<T, N>& a, S b) {                \
    return a op vec<T, N>(b);                                            \
  }                                                                      \
  template <class T, int N, scalar S>                                    \
  MSL_FN vec<T, N> operator op(S a, const vec<T, N>& b) {                \
    return vec<T, N>(a) op b;                                            \
  }                                                                      \
  template <class T, int N, class B>                                     \
  MSL_FN vec<T, N>& operator op##=(vec<T, N>& a, const B& b) {           \
    return a = a op b;                                                   \
  }
MSL_OPERATOR(+)
MSL_OPERATOR(-)
MSL_OPERATOR(*)
MSL_OPERATOR(/)
MSL_OPERATOR(%)
MSL_OPERATOR(&)
MSL_OPERATOR(|)
MSL_OPERATOR(^)
MSL_OPERATOR(<<)
MSL_OPERATOR(>>)
#undef MSL_OPERATOR

#define MSL_OPERATOR(op)                                                    \
  template <class T, int N>                                                 \
  MSL_FN vec<bool, N> operator op(const vec<T, N>& a, const vec<T, N>& b) { \
    vec<bool, N> r;                                                         \
    for (int i = 0; i < N; ++i) r[i] = a[i] op b[i];                        \
    return r;                                                               \
  }                                                                         \
  template <class T, int N, scalar S>                                       \
  MSL_FN vec<bool, N> operator op(const vec<T, N>& a, S b) {                \
    return a op vec<T, N>(b);                                               \
  }
MSL_OPERATOR(<)
MSL_OPERATOR(>)
MSL_OPERATOR(<=)
MSL_OPERATOR(>=)
MSL_OPERATOR(==)
MSL_OPERATOR(!=)
#undef MSL_OPERATOR

template <class T, int N>
MSL_FN vec<T, N> operator-(const vec<T, N>& a) {
  vec<T, N> r;
  for (int i = 0; i < N; ++i) r[i] = T(-a[i]);
  return r;
}
template <int N>
MSL_FN vec<bool, N> operator!(const vec<bool, N>& a) {
  vec<bool, N> r;
  for (int i = 0; i < N; ++i) r[i] = !a[i];
  return r;
}

#define MSL_NAMES(T)      \
  using T##2 = vec<T, 2>; \
  using T##3 = vec<T, 3>; \
  using T##4 = vec<T, 4>;
MSL_FLOATING(MSL_NAMES)
MSL_INTEGRAL(MSL_NAMES)
MSL_NAMES(bool)
#undef MSL_NAMES

// ---- functions ----

template <class To, class From>
MSL_FN To as_type(From value) {
  static_assert(sizeof(To) == sizeof(From), "as_type keeps the size");
  return __builtin_bit_cast(To, value);
}

// The C library's function of floats; halves go through float and are rounded once.
#define MSL_FUNCTION(name, c_name)                   \
  MSL_FN float name(float a) { return ::c_name(a); } \
  template <class F>                                 \
  MSL_FN small_float<F> name(small_float<F> a) {     \
    return small_float<F>(name(float(a)));           \
  }                                                  \
  template <class T, int N>                          \
  MSL_FN vec<T, N> name(const vec<T, N>& a) {        \
    vec<T, N> r;                                     \
    for (int i = 0; i < N; ++i) r[i] = name(a[i]);   \
    return r;                                        \
  }
MSL_FUNCTION(exp, expf)
MSL_FUNCTION(exp2, exp2f)
MSL_FUNCTION(log, logf)
MSL_FUNCTION(log2, log2f)
MSL_FUNCTION(sqrt, sqrtf)
MSL_FUNCTION(tanh, tanhf)
MSL_FUNCTION(sin, sinf)
MSL_FUNCTION(cos, cosf)
MSL_FUNCTION(floor, floorf)
MSL_FUNCTION(ceil, ceilf)
MSL_FUNCTION(rint, rintf)
MSL_FUNCTION(round, roundf)
MSL_FUNCTION(trunc, truncf)
MSL_FUNCTION(fabs, fabsf)
#undef MSL_FUNCTION

MSL_FN float rsqrt(float a) { return 1.0f / ::sqrtf(a); }
MSL_FN float pow(float a, float b) { return ::powf(a, b); }
MSL_FN float abs(float a) { return ::fabsf(a); }
template <scalar T>
requires(is_integral<T>) MSL_FN T abs(T a) { return a < T(0) ? T(-a) : a; }
MSL_FN bool isnan(float a) { return !(a == a); }
MSL_FN bool isinf(float a) { return ::fabsf(a) == INFINITY; }
MSL_FN bool isfinite(float a) { return ::fabsf(a) < INFINITY; }

MSL_FN float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
MSL_FN half fma(half a, half b, half c) { return half(msl::half_fma(a, b, c)); }
MSL_FN bfloat fma(bfloat a, bfloat b, bfloat c) { return bfloat(::fmaf(a, b, c)); }

// Of a number and a NaN both give the number, as Metal's do.
template <scalar T>
MSL_FN T min(T a, T b) {
  if constexpr (is_floating<T>)
    return T(::fminf(float(a), float(b)));
  else
    return b < a ? b : a;
}
template <scalar T>
MSL_FN T max(T a, T b) {
  if constexpr (is_floating<T>)
    return T(::fmaxf(float(a), float(b)));
  else
    return a < b ? b : a;
}
template <scalar T>
MSL_FN T clamp(T a, T low, T high) {
  return min(max(a, low), high);
}
template <scalar T>
MSL_FN T select(T if_false, T if_true, bool condition) {
  return condition ? if_true : if_false;
}

#define MSL_ELEMENTWISE(name)                                     \
  template <class T, int N>                                       \
  MSL_FN vec<T, N> name(const vec<T, N>& a, const vec<T, N>& b) { \
    vec<T, N> r;                                                  \
    for (int i = 0; i < N; ++i) r[i] = name(a[i], b[i]);          \
    return r;                                                     \
  }                                                               \
  template <class T, int N>                                       \
  MSL_FN vec<T, N> name(const vec<T, N>& a, T b) {                \
    return name(a, vec<T, N>(b));                                 \
  }
MSL_ELEMENTWISE(min)
MSL_ELEMENTWISE(max)
#undef MSL_ELEMENTWISE
template <class T, int N>
MSL_FN vec<T, N> clamp(const vec<T, N>& a, const vec<T, N>& low, const vec<T, N>& high) {
  return min(max(a, low), high);
}
template <class T, int N>
MSL_FN vec<T, N> clamp(const vec<T, N>& a, T low, T high) {
  return min(max(a, low), high);
}
template <class T, int N>
MSL_FN vec<T, N> fma(const vec<T, N>& a, const vec<T, N>& b, const vec<T, N>& c) {
  vec<T, N> r;
  for (int i = 0; i < N; ++i) r[i] = fma(a[i], b[i], c[i]);
  return r;
}
template <class T, int N>
MSL_FN vec<T, N> select(const vec<T, N>& if_false, const vec<T, N>& if_true,
                        const vec<bool, N>& condition) {
  vec<T, N> r;
  for (int i = 0; i < N; ++i) r[i] = condition[i] ? if_true[i] : if_false[i];
  return r;
}
template <class T, int N>
MSL_FN T dot(const vec<T, N>& a, const vec<T, N>& b) {
  T sum = T(a[0] * b[0]);
  for (int i = 1; i < N; ++i) sum = T(sum + a[i] * b[i]);
  return sum;
}
template <int N>
MSL_FN bool any(const vec<bool, N>& a) {
  bool r = false;
  for (int i = 0; i < N; ++i) r = r || a[i];
  return r;
}
template <int N>
MSL_FN bool all(const vec<bool, N>& a) {
  bool r = true;
  for (int i = 0; i < N; ++i) r = r && a[i];
  return r;
}

MSL_FN uint mulhi(uint a, uint b) { return uint((ulong(a) * b) >> 32); }

// The libraries' float functions are the precise ones; there is no faster variant to choose.
namespace precise {
using metal::exp, metal::exp2, metal::log, metal::log2, metal::sqrt, metal::rsqrt, metal::tanh;
}
namespace fast {
using metal::exp, metal::exp2, metal::log, metal::log2, metal::sqrt, metal::rsqrt, metal::tanh;
}

// ---- what threads do together: each target brings the functions ----

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
MSL_FN mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }

}  // namespace metal

// Where the translated text stands. These declarations win over names that the target has outside
// (CUDA's own float4, the C library's max).
namespace msl_program {
using metal::as_type, metal::bfloat, metal::half, metal::uchar, metal::uint, metal::ulong,
    metal::ushort;
#define MSL_NAMES(T) using metal::T##2, metal::T##3, metal::T##4;
MSL_FLOATING(MSL_NAMES)
MSL_INTEGRAL(MSL_NAMES)
MSL_NAMES(bool)
#undef MSL_NAMES
using metal::abs, metal::ceil, metal::clamp, metal::cos, metal::exp, metal::exp2, metal::fabs,
    metal::floor, metal::fma, metal::isfinite, metal::isinf, metal::isnan, metal::log, metal::log2,
    metal::max, metal::min, metal::pow, metal::rint, metal::round, metal::rsqrt, metal::select,
    metal::sin, metal::sqrt, metal::tanh, metal::trunc;
}  // namespace msl_program
