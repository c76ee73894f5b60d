// SPDX-License-Identifier: Apache-2.0
// half and bfloat for a CPU, by integers and exact float steps: rounding to nearest even.
#pragma once

namespace msl {

inline unsigned float_bits(float value) { return __builtin_bit_cast(unsigned, value); }
inline float float_of(unsigned bits) { return __builtin_bit_cast(float, bits); }

// The f16 exponent field sits 13 bits higher in f32, and counts from 15, not 127.
inline float half_value(unsigned short bits) {
  const unsigned magnitude = (bits & 0x7FFFu) << 13;
  const unsigned sign = (bits & 0x8000u) << 16;
  if (magnitude >= 0x0F800000u) return float_of(sign | 0x70000000u | magnitude);  // inf, NaN
  // Scaling by 2^112 moves the bias; it is exact for subnormals, too.
  return float_of(sign | float_bits(float_of(magnitude) * float_of(0x77800000u)));
}

inline unsigned short half_bits(float value) {
  const unsigned bits = float_bits(value);
  const unsigned sign = (bits >> 16) & 0x8000u;
  const unsigned magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return (unsigned short)(sign | 0x7E00u);   // NaN
  if (magnitude >= 0x477FF000u) return (unsigned short)(sign | 0x7C00u);  // 65520 and beyond
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the step is 2^-24; adding 0.5 makes f32 round to just that step.
    return (unsigned short)(sign | (float_bits(float_of(magnitude) + 0.5f) - float_bits(0.5f)));
  }
  const unsigned odd = (magnitude >> 13) & 1u;
  return (unsigned short)(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}

// bf16 is the upper half of f32.
inline unsigned short bfloat_bits(float value) {
  const unsigned bits = float_bits(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (unsigned short)((bits >> 16) | 0x40u);  // NaN
  return (unsigned short)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// The product of two halves is exact in double; the sum is rounded there, and once more.
inline float half_fma(float a, float b, float c) {
  return float(double(a) * double(b) + double(c));
}

}  // namespace msl
