// SPDX-License-Identifier: Apache-2.0
// The vectorised conversions against core/half.h, on every instruction set: every half, and floats
// around every place where rounding changes its mind.
#include "cpu/convert.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/half.h"
#include "metalconv/cpu.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;
using Bits = std::vector<std::uint16_t>;
using Values = std::vector<float>;

std::uint32_t bits_of(float v) { return std::bit_cast<std::uint32_t>(v); }

/// Of a signalling NaN hardware sets the quiet bit, the definition in half.h does not.
bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) && std::isnan(b) && std::signbit(a) == std::signbit(b);
  return bits_of(a) == bits_of(b);
}

struct Case {
  std::string isa;
  DType dtype;
};

class Convert : public testing::TestWithParam<Case> {
 protected:
  float decode(std::uint16_t bits) const {
    return GetParam().dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
  std::uint16_t encode(float value) const {
    return GetParam().dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
  }
  const Converter& convert_ = converter(GetParam().isa, GetParam().dtype);
};

TEST_P(Convert, EveryHalf) {
  Bits halves(0x10000);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = std::uint16_t(i);
  Values got(halves.size());
  convert_.to_f32(halves.data(), got.data(), int64_t(got.size()));
  for (std::uint32_t i = 0; i < 0x10000; ++i)
    ASSERT_TRUE(same(got[i], decode(std::uint16_t(i)))) << std::hex << i << ": " << bits_of(got[i]);
}

/// All signs, exponents and upper fractions with lower bits that decide the rounding.
TEST_P(Convert, FloatsThatRoundInEveryWay) {
  Values floats;
  for (std::uint32_t high = 0; high < 0x10000; ++high)
    for (std::uint32_t low : {0x0000, 0x0001, 0x0FFF, 0x1000, 0x1001, 0x1FFF, 0x3000, 0x7FFF,
                              0x8000, 0x8001, 0xB000, 0xFFFF})
      floats.push_back(std::bit_cast<float>(high << 16 | low));
  std::mt19937 random(1);
  for (int i = 0; i < 300000; ++i) floats.push_back(std::bit_cast<float>(std::uint32_t(random())));
  Bits got(floats.size()), streamed(floats.size());
  convert_.from_f32(floats.data(), got.data(), int64_t(got.size()));
  convert_.stream_from_f32(floats.data(), streamed.data(), int64_t(got.size()));
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(got[i], encode(floats[i])) << std::hex << bits_of(floats[i]);
  EXPECT_EQ(streamed, got);
}

/// Any length from any place, and nothing beside it.
TEST_P(Convert, LengthsAndPlaces) {
  constexpr std::uint16_t kBeside = 0x1234;
  for (std::size_t n = 0; n < 70; ++n)
    for (std::size_t place = 1; place < 18; ++place) {
      Bits halves(n);
      for (std::size_t i = 0; i < n; ++i) halves[i] = std::uint16_t(0x3C00 + 37 * i);
      Values floats(place + n + 1, -1.0f);
      convert_.to_f32(halves.data(), floats.data() + place, int64_t(n));
      ASSERT_EQ(floats[place - 1], -1) << n << " " << place;
      ASSERT_EQ(floats[place + n], -1) << n << " " << place;
      for (auto run : {convert_.from_f32, convert_.stream_from_f32}) {
        Bits back(place + n + 1, kBeside);
        run(floats.data() + place, back.data() + place, int64_t(n));
        Bits expected(place, kBeside);
        expected.insert(expected.end(), halves.begin(), halves.end());
        expected.push_back(kBeside);
        ASSERT_EQ(back, expected) << n << " " << place;
      }
    }
}

TEST_P(Convert, RowsThatLieApart) {
  const Bits halves = {0x3C00, 0x3C80, 0, 0x4000, 0x4080, 0};
  Values floats(8, -1.0f);
  rows_to_f32(convert_, halves.data(), 3, floats.data(), 4, 2, 2);
  EXPECT_EQ(floats, (Values{decode(0x3C00), decode(0x3C80), -1, -1, decode(0x4000), decode(0x4080),
                            -1, -1}));
  for (const bool stream : {false, true}) {
    Bits back(6, 0);
    rows_from_f32(convert_, floats.data(), 4, back.data(), 3, 2, 2, stream);
    EXPECT_EQ(back, halves);
  }
}

class ConvertSome : public Convert {};

/// Any step and length; nothing behind the last element is read, as a sanitizer would see.
TEST_P(ConvertSome, EveryFewElements) {
  for (int64_t step = 1; step < 6; ++step)
    for (std::size_t n = 0; n < 70; ++n) {
      const std::size_t length = n == 0 ? 0 : (n - 1) * std::size_t(step) + 1;
      Bits halves(length);
      for (std::size_t i = 0; i < length; ++i) halves[i] = std::uint16_t(0x3C00 + i);
      Values from(length), got(n + 1, -1.0f);
      for (std::size_t i = 0; i < length; ++i) from[i] = decode(halves[i]);
      const void* data = halves.data();
      if (!convert_.halves()) data = from.data();
      convert_.every(step, data, got.data(), int64_t(n));
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(got[i], from[i * std::size_t(step)]) << step << " " << n << " " << i;
      ASSERT_EQ(got[n], -1) << step << " " << n;
    }
}

std::vector<Case> cases(std::vector<DType> dtypes) {
  std::vector<Case> all;
  for (const std::string& isa : cpu_isas())
    for (DType dtype : dtypes) all.push_back({isa, dtype});
  return all;
}
std::string case_name(const testing::TestParamInfo<Case>& test) {
  return test.param.isa + "_" + std::string(to_string(test.param.dtype));
}

INSTANTIATE_TEST_SUITE_P(Isa, Convert, testing::ValuesIn(cases({DType::f16, DType::bf16})),
                         case_name);
INSTANTIATE_TEST_SUITE_P(Isa, ConvertSome,
                         testing::ValuesIn(cases({DType::f32, DType::f16, DType::bf16})),
                         case_name);

TEST(ConvertNothing, FloatsAreCopied) {
  const Converter& convert = converter(cpu_isas().front(), DType::f32);
  EXPECT_FALSE(convert.halves());
  const std::array<float, 3> from{1, -2, std::numeric_limits<float>::infinity()};
  std::array<float, 3> there{}, back{};
  convert.to_f32(from.data(), there.data(), 3);
  convert.from_f32(there.data(), back.data(), 3);
  EXPECT_EQ(back, from);
}

}  // namespace
}  // namespace metalconv::cpu
