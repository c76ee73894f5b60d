// SPDX-License-Identifier: Apache-2.0
// Every f16 and bf16 value, and every point where rounding changes its mind.
#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace metalconv {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

struct Format {
  const char* name;
  int mantissa;  ///< bits of fraction
  std::uint16_t infinity;
  float (*decode)(std::uint16_t);
  std::uint16_t (*encode)(double);
  std::uint16_t (*encode_f32)(float);
};

class Half : public testing::TestWithParam<Format> {};

/// The value of finite `bits` by the definition of IEEE 754.
double by_definition(const Format& f, std::uint16_t bits) {
  const int bias = (1 << (14 - f.mantissa)) - 1;
  const int field = (bits & 0x7FFF) >> f.mantissa;
  const int fraction = bits & ((1 << f.mantissa) - 1);
  const double significand = fraction + (field ? 1 << f.mantissa : 0);
  const double value = std::ldexp(significand, (field ? field : 1) - bias - f.mantissa);
  return bits & 0x8000 ? -value : value;
}

TEST_P(Half, DecodesEveryFiniteValueExactly) {
  const Format& f = GetParam();
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7FFF) >= f.infinity) continue;
    const float value = f.decode(std::uint16_t(bits));
    ASSERT_EQ(value, by_definition(f, std::uint16_t(bits))) << std::hex << bits;
    ASSERT_EQ(std::signbit(value), bool(bits & 0x8000)) << std::hex << bits;
  }
}

TEST_P(Half, EncodingIsTheInverseOfDecoding) {
  const Format& f = GetParam();
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7FFF) > f.infinity) continue;
    ASSERT_EQ(f.encode(f.decode(std::uint16_t(bits))), bits);
    ASSERT_EQ(f.encode_f32(f.decode(std::uint16_t(bits))), bits);
  }
}

// Neighbours at one midpoint fix the rounding of all doubles between them.
TEST_P(Half, RoundsToNearestEvenAtEveryMidpoint) {
  const Format& f = GetParam();
  for (std::uint16_t low = 0; low < f.infinity; ++low) {
    const auto high = std::uint16_t(low + 1);
    // Infinity stands where the next power of two would.
    const double below = by_definition(f, low), above = by_definition(f, high);
    const double midpoint = below + (above - below) / 2;
    const std::uint16_t even = low & 1 ? high : low;
    for (int sign : {0, 0x8000}) {
      const double s = sign ? -1 : 1;
      ASSERT_EQ(f.encode(s * midpoint), sign | even) << std::hex << low;
      ASSERT_EQ(f.encode(s * std::nextafter(midpoint, 0.0)), sign | low) << std::hex << low;
      ASSERT_EQ(f.encode(s * std::nextafter(midpoint, kInf)), sign | high) << std::hex << low;
      const auto m = float(midpoint);
      if (m != midpoint) continue;  // the smallest bf16 step has no half in f32
      ASSERT_EQ(f.encode_f32(float(s) * m), sign | even) << std::hex << low;
      ASSERT_EQ(f.encode_f32(float(s) * std::nextafter(m, 0.0f)), sign | low) << std::hex << low;
      ASSERT_EQ(f.encode_f32(float(s) * std::nextafter(m, HUGE_VALF)), sign | high)
          << std::hex << low;
    }
  }
}

TEST_P(Half, KeepsInfinityAndOverflowsToIt) {
  const Format& f = GetParam();
  EXPECT_EQ(f.decode(f.infinity), HUGE_VALF);
  EXPECT_EQ(f.decode(f.infinity | 0x8000), -HUGE_VALF);
  for (double huge : {kInf, std::numeric_limits<double>::max(), 1e39}) {
    EXPECT_EQ(f.encode(huge), f.infinity);
    EXPECT_EQ(f.encode(-huge), f.infinity | 0x8000);
  }
}

TEST_P(Half, UnderflowsToSignedZero) {
  const Format& f = GetParam();
  for (double tiny : {0.0, std::numeric_limits<double>::denorm_min(),
                      std::numeric_limits<double>::min(), 1e-50}) {
    EXPECT_EQ(f.encode(tiny), 0);
    EXPECT_EQ(f.encode(-tiny), 0x8000);
  }
}

TEST_P(Half, NanStaysNanAndKeepsItsSign) {
  const Format& f = GetParam();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto quiet = std::uint16_t(f.infinity | 1 << (f.mantissa - 1));
  EXPECT_EQ(f.encode(nan), quiet);
  EXPECT_EQ(f.encode(std::copysign(nan, -1.0)), quiet | 0x8000);
  // A payload in the low bits only must not turn into infinity.
  EXPECT_EQ(f.encode(std::bit_cast<double>(std::uint64_t(0x7FF0000000000001))), quiet);
  for (std::uint32_t bits = f.infinity + 1u; bits < 0x8000; ++bits)
    ASSERT_TRUE(std::isnan(f.decode(std::uint16_t(bits)))) << std::hex << bits;
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Half,
    testing::Values(Format{"f16", 10, 0x7C00, f16_to_f32, double_to_f16, f32_to_f16},
                    Format{"bf16", 7, 0x7F80, bf16_to_f32, double_to_bf16, f32_to_bf16}),
    [](const auto& p) { return std::string(p.param.name); });

TEST(HalfKnownValues, F16) {
  static_assert(f16_to_f32(0x3C00) == 1.0f);
  EXPECT_EQ(f16_to_f32(0xC000), -2.0f);
  EXPECT_EQ(f16_to_f32(0x3555), 0.333251953125f);
  EXPECT_EQ(f16_to_f32(0x7BFF), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0400), 0x1p-14f);  // smallest normal
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);  // smallest subnormal
  EXPECT_EQ(f32_to_f16(0.1f), 0x2E66);
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
}

TEST(HalfKnownValues, Bf16) {
  static_assert(bf16_to_f32(0x3F80) == 1.0f);
  EXPECT_EQ(bf16_to_f32(0x4049), 3.140625f);
  EXPECT_EQ(bf16_to_f32(0x0001), 0x1p-133f);
  EXPECT_EQ(f32_to_bf16(0.1f), 0x3DCD);
  EXPECT_EQ(f32_to_bf16(3.3895314e38f), 0x7F7F);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
}

TEST(HalfElements, DoubleIsRoundedOnce) {
  // Through f32 this would first become the midpoint 1 + 2^-11 and then the even 1.
  const double above_midpoint = 1 + 0x1p-11 + 0x1p-40;
  std::uint16_t bits[2] = {};
  from_double(DType::f16, above_midpoint, bits, 1);
  EXPECT_EQ(bits[1], 0x3C01);
  EXPECT_EQ(to_double(DType::f16, bits, 1), 1 + 0x1p-10);
  EXPECT_EQ(bits[0], 0);
}

TEST(HalfElements, EveryTypeRoundTrips) {
  alignas(4) unsigned char memory[16] = {};
  for (DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    from_double(dtype, -1.5, memory, 3);
    EXPECT_EQ(to_double(dtype, memory, 3), -1.5);
  }
}

}  // namespace
}  // namespace metalconv
