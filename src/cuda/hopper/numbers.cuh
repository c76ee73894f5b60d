// SPDX-License-Identifier: Apache-2.0
// Numbers of each KIND (0 f16, 1 bf16, 2 tf32, 3 f32 as parts of tf32), and ACTIVATION (0 none, 1
// relu, 2 relu6, 3 silu).
#define FN static __device__ __forceinline__

typedef unsigned int word;
typedef unsigned long long wide;

#if KIND < 2
typedef unsigned short elem;  // the bits of a half or bfloat
enum { SIZE = 2 };
#else
typedef float elem;
enum { SIZE = 4 };
#endif

FN float float_of(word bits) { return __uint_as_float(bits); }
FN word bits_of(float v) { return __float_as_uint(v); }

FN bool is_finite(float v) { return (bits_of(v) & 0x7F800000u) != 0x7F800000u; }

FN float to_float(elem v) {
#if KIND == 0
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
  return f;
#elif KIND == 1
  return float_of(word(v) << 16);
#else
  return v;
#endif
}

FN word two_halves(float low, float high) {
  word v = 0;
#if KIND == 0
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
#elif KIND == 1
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
#endif
  return v;
}

// The nearest tf32, ties away from zero. Infinities and NaN stay; what lies within half a step of
// the largest float becomes infinite.
FN float upper(float v) {
#if KIND >= 2
  word bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
  return float_of(bits & 0xFFFFE000u);
#else
  return v;
#endif
}

FN float activate(float v) {
#if ACTIVATION == 1
  return v < 0.0f ? 0.0f : v;
#elif ACTIVATION == 2
  return v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v;
#elif ACTIVATION == 3
  return v / (1.0f + expf(-v));
#else
  return v;
#endif
}
