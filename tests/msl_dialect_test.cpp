// SPDX-License-Identifier: Apache-2.0
// The dialect's types and functions do what Metal's do: msl_dialect.metal on the emulator, against
// numbers computed here.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/half.h"
#include "emulator/runtime.h"
#include "msl/msl.h"

namespace metalconv::msl {
namespace {

using Floats = std::vector<float>;

struct Params {
  int count = 6;
  float scale = 2.0f;
};

class Dialect : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
    emulator::Options options;
    options.cache = testing::TempDir() + "metalconv_dialect_test_" + std::to_string(getuid());
    runtime_ = emulator::make_runtime(options);
  }

  template <class T>
  std::unique_ptr<Buffer> buffer(const std::vector<T>& values) {
    auto out = runtime_->allocate(values.size() * sizeof(T));
    out->upload(values.data(), values.size() * sizeof(T));
    return out;
  }

  template <class T>
  static std::vector<T> read(const Buffer& from, std::size_t count) {
    std::vector<T> out(count);
    from.download(out.data(), count * sizeof(T));
    return out;
  }

  void launch(const std::string& kernel, const gpu::LaunchShape& shape,
              const std::vector<gpu::Argument>& arguments, const gpu::Macros& macros = {}) {
    const std::string path = METALCONV_DIALECT_FILE;
    const auto compiled =
        runtime_->compile({diagnostic_name(path), load_source(path)}, kernel, macros);
    const auto queue = runtime_->make_queue();
    runtime_->launch(*queue, *compiled, shape, arguments);
    queue->wait();
  }

  std::unique_ptr<gpu::Runtime> runtime_;
};

Floats ramp(std::size_t count, float first, float step) {
  Floats out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = first + step * float(i);
  return out;
}

// ELEM by name, with its conversions.
struct Element {
  const char* name;
  std::uint16_t (*encode)(float);
  float (*decode)(std::uint16_t);
  float round(float v) const { return encode == nullptr ? v : decode(encode(v)); }
};
const Element kElements[] = {{"float", nullptr, nullptr},
                             {"half", f32_to_f16, f16_to_f32},
                             {"bfloat", f32_to_bf16, bf16_to_f32}};

// What kernel `arithmetic` writes.
Floats arithmetic_by_hand(const Floats& x, const Params& p, const Element& elem) {
  const float a = x[0], b = x[1], c = x[2], d = x[3];
  const float by[4] = {1.0f, 1.0f, 2.0f, -3.0f};
  const auto half = [](float v) { return f16_to_f32(f32_to_f16(v)); };
  Floats y;
  for (int i = 0; i < 4; ++i) y.push_back(x[i] * by[i] + 0.5f + (2.0f * x[i] - by[i] / 4.0f));
  y.push_back(a + b + 2.0f * c - 3.0f * d);
  y.push_back(half(half(half(a) * 3.0f) + 0.125f));
  y.push_back(65504.0f);  // the largest half: 65519 is less than half a step away
  y.push_back(1.0f);      // halfway between two bfloats: to the even one
  y.push_back(half(b * 0.1f));
  y.push_back(half(c * 0.1f));
  y.push_back(-b);
  y.push_back(15360.0f);  // 0x3C00
  y.push_back(std::fmin(std::fmax(d, -1.0f), 1.0f));
  y.push_back(a > b ? 2.0f : 1.0f);
  y.push_back(std::fmax(a, b) + std::fmin(c, d));
  float digits = 0, digit = 1;
  for (int i = 0; i < 4; ++i, digit *= 10) digits += digit * float(int(x[i]) % 3 + 3);
  y.push_back(digits);
  y.insert(y.end(), {5.75f, 4.5f, 4.0f, a + b + c + d});
  float taps = 0;
  for (int i = 0; i < p.count; ++i) taps += (i % 3 == 1 ? 0.5f : 0.25f) * x[i];
  y.push_back(taps * p.scale);
  y.insert(y.end(), {float(p.count), 1 + 4 + 9 + 16, a + 2.0f * b + 3.0f * c});
  y.push_back(elem.encode == nullptr ? 28.0f : 26.0f);
  y.push_back(elem.round(elem.round(a) + elem.round(b)));
  y.push_back(elem.round(1.0f + elem.round(a)));
  y.insert(y.end(), {1.0f, 1.0f, 6.5f, 1.0f, 4465.0f});
  return y;
}

TEST_F(Dialect, ArithmeticOfOneThread) {
  const Floats x = {1.25f, 2.75f, -3.5f, 4.125f, 0.5f, 8.0f};
  const Params p;
  const auto in = buffer(x);
  for (const Element& elem : kElements) {
    const auto out = buffer(Floats(32));
    launch("arithmetic", {{1}, {1}}, {in->memory(), out->memory(), gpu::constants(p)},
           {{"ELEM", elem.name}});
    const Floats y = read<float>(*out, 32), expected = arithmetic_by_hand(x, p, elem);
    ASSERT_EQ(expected.size(), 32u);
    for (std::size_t i = 0; i < 32; ++i) {
      EXPECT_FLOAT_EQ(y[i], expected[i]) << "y[" << i << "] with ELEM " << elem.name;
    }
  }
}

TEST_F(Dialect, PositionsOfThreads) {
  const gpu::Extent groups{2, 3, 2}, threads{8, 5, 1};
  const auto count = std::size_t(groups.count() * threads.count());
  const auto out = buffer(std::vector<std::uint32_t>(count * 12));
  launch("positions", {groups, threads}, {out->memory()});
  const auto y = read<std::uint32_t>(*out, count * 12);
  const std::uint32_t width = groups.x * threads.x, height = groups.y * threads.y;
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::uint32_t gx = n % width, gy = n / width % height, gz = n / width / height;
    const std::uint32_t index = gy % 5 * 8 + gx % 8;
    const std::vector<std::uint32_t> expected = {
        gx / 8, gy / 5, gz, gx % 8, gy % 5, 851, 232, index, index % 32, index / 32, 2, 32};
    EXPECT_EQ(std::vector(y.begin() + n * 12, y.begin() + n * 12 + 12), expected) << n;
  }
}

TEST_F(Dialect, ExchangeAcrossASimdgroup) {
  const auto in = buffer(ramp(64, 0.0f, 1.0f));
  const auto out = buffer(Floats(64 * 12));
  launch("exchange", {{1}, {64}}, {in->memory(), out->memory()});
  const Floats y = read<float>(*out, 64 * 12);
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32, first = i - lane;
    const auto of = [&](int other) { return float(first + other); };
    const Floats expected = {of(5),
                             of(lane ^ 3),
                             lane < 30 ? of(lane + 2) : y[i * 12 + 2],  // undefined in Metal
                             lane > 0 ? of(lane - 1) : y[i * 12 + 3],
                             of(31),
                             float(32 * first + 31 * 16),
                             of(31),
                             of(0),
                             of(lane ^ 1),
                             2 * of(lane ^ 16) + 3,
                             first == 32 ? 1.0f : 0.0f,
                             first == 0 ? 1.0f : 0.0f};
    EXPECT_EQ(Floats(y.begin() + i * 12, y.begin() + i * 12 + 12), expected) << i;
  }
}

TEST_F(Dialect, ThreadgroupMemory) {
  const auto in = buffer(ramp(192, 1.0f, 1.0f));
  const auto out = buffer(Floats(192));
  launch("reverse", {{3}, {64}}, {in->memory(), out->memory()});
  const Floats y = read<float>(*out, 192);
  for (int i = 0; i < 192; ++i) {
    const int first = i / 64 * 64;
    EXPECT_EQ(y[i], float(first + 64 - i % 64 + first + 64)) << i;
  }
}

// Small integers: exact in every element type.
TEST_F(Dialect, Matrices) {
  Floats a(128), b(128);
  for (int i = 0; i < 128; ++i) {
    a[i] = float(i * 7 % 11 - 5);
    b[i] = float(i * 5 % 13 - 6);
  }
  const auto encoded = [&](const Floats& values, const Element& elem) {
    if (elem.encode == nullptr) return buffer(values);
    std::vector<std::uint16_t> bits;
    for (const float v : values) bits.push_back(elem.encode(v));
    return buffer(bits);
  };
  for (const Element& elem : kElements) {
    SCOPED_TRACE(elem.name);
    const auto left = encoded(a, elem), right = encoded(b, elem);
    const auto out = buffer(Floats(128));
    launch("matrices", {{1}, {32}}, {left->memory(), right->memory(), out->memory()},
           {{"ELEM", elem.name}});
    const Floats y = read<float>(*out, 128);
    for (int r = 0; r < 8; ++r) {
      for (int c = 0; c < 8; ++c) {
        float sum = 2.0f;
        for (int k = 0; k < 16; ++k) sum += a[r * 16 + k] * b[c * 16 + k];
        EXPECT_EQ(y[r * 8 + c], sum) << r << ", " << c;
        EXPECT_EQ(y[64 + r * 8 + c], 2 * a[r * 16 + 8 + c]) << r << ", " << c;
      }
    }
  }
}

}  // namespace
}  // namespace metalconv::msl
