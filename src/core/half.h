// SPDX-License-Identifier: Apache-2.0
// f16 and bf16 on the host: conversions with one rounding, to nearest even, in integer arithmetic,
// so that neither the rounding mode nor the instruction set has a say.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "metalconv/problem.h"

namespace metalconv {
namespace detail {

/// A binary float format of 16 bits: sign, exponent, `kMantissa` bits of fraction.
template <int kMantissa>
struct Small {
  static constexpr int kMaxField = (1 << (15 - kMantissa)) - 1;
  static constexpr int kBias = kMaxField / 2;
  static constexpr std::uint32_t kInfinity = std::uint32_t(kMaxField) << kMantissa;
  static constexpr std::uint32_t kQuiet = 1u << (kMantissa - 1);

  /// Exact. A NaN keeps its sign and fraction.
  static constexpr float decode(std::uint16_t bits) {
    const std::uint32_t sign = std::uint32_t(bits >> 15) << 31;
    const std::uint32_t magnitude = bits & 0x7FFFu;
    const std::uint32_t widened = magnitude << (23 - kMantissa);
    if (magnitude >= kInfinity) return std::bit_cast<float>(sign | 0x7F800000u | widened);
    if constexpr (kBias != 127) {
      if (magnitude >> kMantissa == 0) {  // zero or subnormal: a count of the smallest steps
        constexpr auto kStep = std::bit_cast<float>(std::uint32_t(128 - kBias - kMantissa) << 23);
        return (sign ? -1.0f : 1.0f) * (float(magnitude) * kStep);
      }
    }
    return std::bit_cast<float>(sign | (widened + (std::uint32_t(127 - kBias) << 23)));
  }

  /// A NaN keeps its sign and the top of its fraction, and becomes quiet.
  static constexpr std::uint16_t encode(double value) {
    const auto bits = std::bit_cast<std::uint64_t>(value);
    const std::uint32_t sign = std::uint32_t(bits >> 63) << 15;
    const int field = int(bits >> 52) & 0x7FF;
    const std::uint64_t fraction = bits & ((std::uint64_t(1) << 52) - 1);
    if (field == 0x7FF) {
      const auto top = std::uint32_t(fraction >> (52 - kMantissa));
      return std::uint16_t(sign | kInfinity | (fraction ? top | kQuiet : 0));
    }
    const int exponent = field - 1023 + kBias;  // as this format would store it
    if (exponent >= kMaxField) return std::uint16_t(sign | kInfinity);
    // Below the normal range the steps stop shrinking, so more bits fall off.
    const int dropped = 52 - kMantissa + (exponent < 1 ? 1 - exponent : 0);
    if (dropped > 53) return std::uint16_t(sign);  // below half of the smallest step
    const std::uint64_t significand = (field ? std::uint64_t(1) << 52 : 0) | fraction;
    const std::uint64_t half = std::uint64_t(1) << (dropped - 1);
    const std::uint64_t odd = significand >> dropped & 1;
    const auto steps = std::uint32_t((significand + half - 1 + odd) >> dropped);
    // The leading 1 of `steps` counts one exponent; a carry moves on to the next, up to infinity.
    const std::uint32_t base = exponent > 1 ? std::uint32_t(exponent - 1) << kMantissa : 0;
    return std::uint16_t(sign | (base + steps));
  }
};

}  // namespace detail

constexpr float f16_to_f32(std::uint16_t bits) { return detail::Small<10>::decode(bits); }
constexpr float bf16_to_f32(std::uint16_t bits) { return detail::Small<7>::decode(bits); }
constexpr std::uint16_t double_to_f16(double value) { return detail::Small<10>::encode(value); }
constexpr std::uint16_t double_to_bf16(double value) { return detail::Small<7>::encode(value); }
// Widening a float to double is exact, so these round once, too.
constexpr std::uint16_t f32_to_f16(float value) { return double_to_f16(value); }
constexpr std::uint16_t f32_to_bf16(float value) { return double_to_bf16(value); }

/// Element i of an array of `dtype`.
inline double to_double(DType dtype, const void* data, std::int64_t i) {
  if (dtype == DType::f32) {
    float v;
    std::memcpy(&v, static_cast<const char*>(data) + i * 4, 4);
    return v;
  }
  std::uint16_t bits;
  std::memcpy(&bits, static_cast<const char*>(data) + i * 2, 2);
  return dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

/// Store `value` as element i, rounded once, to nearest even.
inline void from_double(DType dtype, double value, void* data, std::int64_t i) {
  if (dtype == DType::f32) {
    const auto v = float(value);
    std::memcpy(static_cast<char*>(data) + i * 4, &v, 4);
    return;
  }
  const std::uint16_t bits = dtype == DType::f16 ? double_to_f16(value) : double_to_bf16(value);
  std::memcpy(static_cast<char*>(data) + i * 2, &bits, 2);
}

}  // namespace metalconv
