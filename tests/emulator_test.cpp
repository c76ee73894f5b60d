// SPDX-License-Identifier: Apache-2.0
// The emulator: what kernels can rely on, and that each kind of bug it exists to find is found,
// with the line of the .metal source. The files in seeded/ hold one bug each, behind the macro BUG;
// without it they are right, which shows that it is the bug that is reported.
//
// What a build can find depends on how it is instrumented: races in the `tsan` preset, overruns by
// the byte in `asan`, the rest in every build.
#include "emulator/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "emulator/object_cache.h"
#include "emulator/sanitizers.h"
#include "metalconv/error.h"
#include "msl/msl.h"

namespace metalconv::emulator {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif
#else
constexpr bool kThreadSanitizer = false;
#endif

constexpr LaneOrder kOrders[] = {LaneOrder::forward, LaneOrder::reversed, LaneOrder::shuffled};

/// Compiled kernels stay from run to run of the tests: their key holds all that they depend on.
std::filesystem::path cache_folder() {
  return testing::TempDir() + "metalconv_emulator_test_" + std::to_string(getuid());
}

std::unique_ptr<gpu::Runtime> runtime(LaneOrder order = LaneOrder::forward, int threads = 2) {
  Options options;
  options.executor.order = order;
  options.executor.threads = threads;
  options.cache = cache_folder();
  return make_runtime(options);
}

/// The sentence of the error of `code` that `action` throws; empty when it throws none.
template <class Action>
std::string refusal(ErrorCode code, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return {};
}

gpu::Source inline_source(const std::string& text) {
  return {"inline.metal", "#include <metal_stdlib>\nusing namespace metal;\n" + text};
}

/// Runs a kernel with one output of `count` values as buffer(0), and returns them.
template <class T>
std::vector<T> outputs(gpu::Runtime& gpu, const std::string& text, const gpu::LaunchShape& shape,
                       std::size_t count, const gpu::Macros& macros = {}) {
  const auto kernel = gpu.compile(inline_source(text), "test", macros);
  const auto queue = gpu.make_queue();
  const auto y = gpu.allocate(count * sizeof(T));
  const gpu::Argument arguments[] = {y->memory()};
  gpu.launch(*queue, *kernel, shape, arguments);
  queue->wait();
  std::vector<T> values(count);
  y->download(values.data(), count * sizeof(T));
  return values;
}

// ------------------------------------------------------------------------------------ seeded bugs

constexpr std::uint32_t kGroups = 8, kThreads = 128;
/// Of elements: all threads have one, but for the kernels that take a count, to have a tail.
constexpr std::uint32_t kTail = kGroups * kThreads - 5;

struct SeededKernel {
  explicit SeededKernel(const std::string& kernel_name, std::uint32_t elements = kGroups * kThreads)
      : name(kernel_name),
        count(elements),
        source{"seeded/" + name + ".metal", msl::load_source(path())} {}

  std::string path() const { return std::string(METALCONV_SEEDED_FOLDER "/") + name + ".metal"; }

  /// "seeded/name.metal:LINE", of the line that bears `mark`.
  std::string place(const std::string& mark = "// SEEDED") const {
    std::ifstream file(path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      if (line.find(mark) != std::string::npos) return source.file + ":" + std::to_string(number);
    }
    ADD_FAILURE() << source.file << " has no " << mark;
    return {};
  }

  std::vector<float> run(const gpu::Macros& macros, LaneOrder order = LaneOrder::forward) const {
    // Shared by the tests: ThreadSanitizer takes milliseconds to make a threadgroup's fibers.
    static const std::unique_ptr<gpu::Runtime> kRuntimes[] = {
        runtime(LaneOrder::forward), runtime(LaneOrder::reversed), runtime(LaneOrder::shuffled)};
    const auto& gpu = kRuntimes[int(order)];
    const auto kernel = gpu->compile(source, "seeded", macros);
    const auto queue = gpu->make_queue();
    const auto x = gpu->allocate(count * sizeof(float)), y = gpu->allocate(count * sizeof(float));
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), 1.0f);
    x->upload(values.data(), count * sizeof(float));
    const gpu::Argument arguments[] = {x->memory(), y->memory(), gpu::constants(count)};
    gpu->launch(*queue, *kernel, {{kGroups}, {kThreads}}, arguments);
    queue->wait();
    y->download(values.data(), count * sizeof(float));
    return values;
  }

  std::vector<float> run_bug(LaneOrder order = LaneOrder::forward) const {
    return run({{"BUG", "1"}}, order);
  }

  std::string name;
  std::uint32_t count;
  gpu::Source source;
};

class LegalTwin : public testing::TestWithParam<std::pair<const char*, std::uint32_t>> {};

TEST_P(LegalTwin, IsCleanAndTheSameInEveryLaneOrder) {
  const SeededKernel kernel(GetParam().first, GetParam().second);
  const std::vector<float> expected = kernel.run({});
  for (const float value : expected) EXPECT_FALSE(std::isnan(value));
  for (const LaneOrder order : kOrders) EXPECT_EQ(kernel.run({}, order), expected);
}

constexpr std::uint32_t kAll = kGroups * kThreads;
INSTANTIATE_TEST_SUITE_P(
    Emulator, LegalTwin,
    testing::Values(std::pair("missing_barrier", kAll), std::pair("barrier_without_memory", kAll),
                    std::pair("missing_simdgroup_barrier", kAll),
                    std::pair("device_overrun", kTail), std::pair("device_overread", kTail),
                    std::pair("threadgroup_overrun", kAll), std::pair("early_return", kTail),
                    std::pair("divergent_barrier", kAll), std::pair("divergent_simd", kAll),
                    std::pair("partial_matrix", kAll), std::pair("too_much_memory", kAll),
                    std::pair("unwritten", kAll)),
    [](const auto& param) { return std::string(param.param.first); });

std::string failure_of(const SeededKernel& kernel) {
  return refusal(ErrorCode::device, [&] { kernel.run_bug(); });
}

TEST(Seeded, ReturnBeforeABarrierOfOthersIsAnError) {
  const SeededKernel kernel("early_return", kTail);
  EXPECT_EQ(failure_of(kernel),
            "kernel 'seeded' on the emulator: " + kernel.place() +
                ": threadgroup_barrier is not reached by 5 of 128 threads, which have returned "
                "(threadgroup 7, 0, 0)");
}

TEST(Seeded, DifferentBarriersAreAnError) {
  const SeededKernel kernel("divergent_barrier");
  EXPECT_THAT(failure_of(kernel),
              AllOf(HasSubstr(kernel.place()), HasSubstr("while others wait at that in")));
}

TEST(Seeded, DifferentSimdgroupOperationsAreAnError) {
  const SeededKernel kernel("divergent_simd");
  EXPECT_THAT(failure_of(kernel),
              AllOf(HasSubstr(kernel.place()), HasSubstr("some lanes of a simdgroup")));
}

TEST(Seeded, MatrixOperationWithoutAllLanesIsAnError) {
  const SeededKernel kernel("partial_matrix");
  EXPECT_THAT(failure_of(kernel), AllOf(HasSubstr(kernel.place()), HasSubstr("only 31 are there")));
}

TEST(Seeded, TooMuchThreadgroupMemoryIsAnError) {
  const SeededKernel kernel("too_much_memory");
  EXPECT_THAT(failure_of(kernel),
              AllOf(HasSubstr(kernel.place()), HasSubstr("is 32784 bytes with 'second'"),
                    HasSubstr("at most 32768")));
}

TEST(Seeded, UnwrittenThreadgroupMemoryIsNan) {
  const std::vector<float> y = SeededKernel("unwritten").run_bug();
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i % kThreads == 7) << i;
}

TEST(Seeded, MissingBarrierChangesResultsWithTheLaneOrder) {
  if (kThreadSanitizer) GTEST_SKIP() << "reported as a race";
  const SeededKernel kernel("missing_barrier");
  EXPECT_NE(kernel.run_bug(LaneOrder::forward), kernel.run_bug(LaneOrder::reversed));
}

TEST(Seeded, DeviceOverrunIsFoundByCanaries) {
  if (kAsan) GTEST_SKIP() << "AddressSanitizer reports it first";
  EXPECT_EQ(failure_of(SeededKernel("device_overrun", kTail)),
            "kernel 'seeded' wrote behind its buffer(1)");
}

TEST(Seeded, ThreadgroupOverrunIsFoundByCanaries) {
  if (kAsan) GTEST_SKIP() << "AddressSanitizer reports it first";
  const SeededKernel kernel("threadgroup_overrun");
  EXPECT_THAT(failure_of(kernel),
              AllOf(HasSubstr(kernel.place("// DECLARED")),
                    HasSubstr("memory behind 'values' was written"), HasSubstr("508 bytes")));
}

/// A sanitizer ends the process: the kernel runs in a child.
class SanitizerDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void expect_overrun(const SeededKernel& kernel) {
  if (!kAsan) GTEST_SKIP() << "needs the asan preset";
  EXPECT_DEATH(kernel.run_bug(), kernel.place());
}

void expect_race(const SeededKernel& kernel) {
  if (!kThreadSanitizer) GTEST_SKIP() << "needs the tsan preset";
  EXPECT_EXIT(
      {
        kernel.run_bug();
        std::exit(0);
      },
      testing::ExitedWithCode(66), kernel.place());
}

TEST_F(SanitizerDeathTest, DeviceOverrun) { expect_overrun(SeededKernel("device_overrun", kTail)); }
TEST_F(SanitizerDeathTest, DeviceOverread) {
  expect_overrun(SeededKernel("device_overread", kTail));
}
TEST_F(SanitizerDeathTest, ThreadgroupOverrun) {
  expect_overrun(SeededKernel("threadgroup_overrun"));
}
TEST_F(SanitizerDeathTest, MissingBarrier) { expect_race(SeededKernel("missing_barrier")); }
TEST_F(SanitizerDeathTest, BarrierWithoutMemory) {
  expect_race(SeededKernel("barrier_without_memory"));
}
TEST_F(SanitizerDeathTest, MissingSimdgroupBarrier) {
  expect_race(SeededKernel("missing_simdgroup_barrier"));
}

// --------------------------------------------------------------------- what kernels can rely on

TEST(Emulator, GivesEveryThreadItsPlace) {
  const auto gpu = runtime();
  const auto y = outputs<std::uint32_t>(*gpu, R"(
kernel void test(device uint* y [[buffer(0)]],
                 uint3 i [[thread_position_in_grid]], uint3 g [[threadgroup_position_in_grid]],
                 ushort3 t [[thread_position_in_threadgroup]], uint3 n [[threads_per_grid]],
                 uint2 size [[threads_per_threadgroup]], uint3 groups [[threadgroups_per_grid]],
                 uint index [[thread_index_in_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]],
                 uint sg [[simdgroup_index_in_threadgroup]],
                 uint sgs [[simdgroups_per_threadgroup]]) {
  const bool right = i.x == g.x * size.x + uint(t.x) && i.y == g.y * size.y + uint(t.y) &&
                     i.z == g.z * 2 + uint(t.z) && n.x == groups.x * size.x && n.z == 4 &&
                     index == (uint(t.z) * size.y + uint(t.y)) * size.x + uint(t.x) &&
                     sg * 32 + lane == index && sgs == 3;
  y[(i.z * n.y + i.y) * n.x + i.x] = right ? 1 : 0;
}
)",
                                        {{3, 2, 2}, {11, 3, 2}}, 33 * 6 * 4);
  EXPECT_THAT(y, Each(1u));
}

TEST(Emulator, SimdgroupOperationsSeeTheLanesThatAreThere) {
  const auto gpu = runtime();
  const auto y = outputs<float>(*gpu, R"(
kernel void test(device float* y [[buffer(0)]], uint t [[thread_index_in_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]]) {
  if (t == 37) return;
  const float v = float(t);
  device float* out = y + t * 8;
  out[0] = simd_sum(v);
  out[1] = simd_max(v);
  out[2] = simd_shuffle_down(v, ushort(2));
  out[3] = simd_shuffle_up(v, ushort(2));
  out[4] = simd_shuffle_xor(v, ushort(1));
  out[5] = simd_broadcast(v, ushort(3));
  out[6] = simd_all(v >= 32.0f) ? 1.0f : 0.0f;
  out[7] = simd_is_first() ? 1.0f : 0.0f;
}
)",
                                {{1}, {40}}, 40 * 8);
  const auto at = [&](int t, int i) { return y[std::size_t(t * 8 + i)]; };
  EXPECT_EQ(at(0, 0), 31 * 32 / 2);
  EXPECT_EQ(at(39, 0), 32 + 33 + 34 + 35 + 36 + 38 + 39);
  EXPECT_EQ(at(5, 1), 31);
  EXPECT_EQ(at(33, 1), 39);
  EXPECT_EQ(at(4, 2), 6);
  EXPECT_EQ(at(31, 2), 31) << "lanes at the end keep their own";
  EXPECT_TRUE(std::isnan(at(35, 2))) << "lane 5 of the second simdgroup has returned";
  EXPECT_TRUE(std::isnan(at(39, 2))) << "lane 9 of the second simdgroup does not exist";
  EXPECT_EQ(at(0, 3), 0);
  EXPECT_EQ(at(9, 3), 7);
  EXPECT_EQ(at(6, 4), 7);
  EXPECT_EQ(at(34, 5), 35);
  EXPECT_EQ(at(3, 6), 0);
  EXPECT_EQ(at(36, 6), 1);
  EXPECT_EQ(at(32, 7), 1);
  EXPECT_EQ(at(33, 7), 0);
}

constexpr char kMatrixKernel[] = R"(
kernel void test(device T* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup T a[8 * 12];
  threadgroup T b[64];
  for (uint i = lane; i < 96; i += 32) a[i] = T(float(i % 12) - float(i / 12));
  for (uint i = lane; i < 64; i += 32) b[i] = T(float(i % 8 * 2) - float(i / 8 * 3));
  simdgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<T, 8, 8> left, right, sum = simdgroup_matrix<T, 8, 8>(T(7.0f));
  simdgroup_load(left, a, 12, ulong2(3, 0));
  simdgroup_load(right, b, 8, ulong2(0, 0), true);
  simdgroup_multiply_accumulate(sum, left, right, sum);
  simdgroup_store(sum, y, 8);
}
)";

template <class Decode>
void expect_product(const std::vector<float>& y, const Decode& round) {
  for (int r = 0; r < 8; ++r)
    for (int c = 0; c < 8; ++c) {
      float sum = r == c ? 7.0f : 0.0f;
      for (int k = 0; k < 8; ++k) sum += float(k + 3 - r) * float(k * 2 - c * 3);
      EXPECT_EQ(y[std::size_t(r * 8 + c)], round(sum)) << r << ", " << c;
    }
}

TEST(Emulator, MultipliesSimdgroupMatrices) {
  const auto gpu = runtime(LaneOrder::shuffled);
  const auto y = outputs<float>(*gpu, kMatrixKernel, {{1}, {32}}, 64, {{"T", "float"}});
  expect_product(y, [](float v) { return v; });
  // bfloat is the upper half of a float; the sum is rounded to it once.
  const auto small =
      outputs<std::uint16_t>(*gpu, kMatrixKernel, {{1}, {32}}, 64, {{"T", "bfloat"}});
  std::vector<float> decoded;
  for (const std::uint16_t bits : small)
    decoded.push_back(std::bit_cast<float>(std::uint32_t(bits) << 16));
  expect_product(decoded, [](float v) {
    const auto bits = std::bit_cast<std::uint32_t>(v);
    return std::bit_cast<float>((bits + 0x7FFFu + (bits >> 16 & 1)) & 0xFFFF0000u);
  });
}

TEST(Emulator, NeverWrittenVariablesAreNotZero) {
  const auto gpu = runtime();
  const auto y = outputs<float>(*gpu, R"(
kernel void test(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float v;
  y[i] = v;
}
)",
                                {{1}, {4}}, 4);
  EXPECT_THAT(y, Each(testing::Ne(0.0f)));
}

TEST(Emulator, MemoryBeginsAsNan) {
  const auto buffer = runtime()->allocate(16);
  std::vector<float> values(4);
  buffer->download(values.data(), 16);
  for (const float value : values) EXPECT_TRUE(std::isnan(value));
}

TEST(Emulator, OneRuntimeServesSeveralThreads) {
  const auto gpu = runtime(LaneOrder::shuffled);
  const auto work = [&](std::uint32_t size) {
    const auto y = outputs<float>(*gpu, R"(
kernel void test(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]],
                 uint t [[thread_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
  threadgroup float values[128];
  values[t] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = values[n - 1 - t];
}
)",
                                  {{20}, {size}}, 20 * size);
    for (std::uint32_t i = 0; i < 20 * size; ++i)
      EXPECT_EQ(y[i], float(i / size * size + size - 1 - i % size));
  };
  std::thread other([&] { work(64); });
  work(128);
  other.join();
}

TEST(Emulator, AGridWithoutGroupsRunsNothing) {
  const auto gpu = runtime();
  const auto y = outputs<float>(
      *gpu, "kernel void test(device float* y [[buffer(0)]]) { y[0] = 1.0f; }", {{0}, {32}}, 1);
  EXPECT_TRUE(std::isnan(y[0]));
}

// ------------------------------------------------------------------------------------ refusals

constexpr char kEmptyKernel[] =
    "[[kernel, max_total_threads_per_threadgroup(64)]] void test(device float* y [[buffer(0)]]) {}";

TEST(Emulator, RefusesShapesOutsideTheLimits) {
  const auto gpu = runtime();
  const auto kernel = gpu->compile(inline_source(kEmptyKernel), "test", {});
  const auto queue = gpu->make_queue();
  EXPECT_EQ(kernel->max_threads(), 64u);
  const auto launch = [&](const gpu::LaunchShape& shape) {
    return refusal(ErrorCode::invalid_argument, [&] { gpu->launch(*queue, *kernel, shape, {}); });
  };
  EXPECT_EQ(launch({{1}, {65}}),
            "a threadgroup of kernel 'test' is 65 x 1 x 1 threads, but must be 1 to 64 in all");
  EXPECT_THAT(launch({{1}, {8, 0}}), HasSubstr("must be 1 to 64"));
  EXPECT_THAT(launch({{1u << 30}, {8}}), HasSubstr("must fit 32 bits"));
}

TEST(Emulator, RefusesTooManyConstants) {
  const auto gpu = runtime();
  const auto kernel = gpu->compile(inline_source(kEmptyKernel), "test", {});
  const auto queue = gpu->make_queue();
  const std::vector<std::byte> bytes(5000);
  const gpu::Argument arguments[] = {gpu::Bytes(bytes)};
  EXPECT_EQ(refusal(ErrorCode::invalid_argument,
                    [&] {
                      gpu->launch(*queue, *kernel, {{1}, {1}}, arguments);
                    }),
            "argument 0 holds 5000 bytes of constants, but at most 4096 are allowed");
}

TEST(Emulator, NamesTheLineOfACompileError) {
  const auto text = "kernel void test(device float* y [[buffer(0)]]) { y[0] = absent; }";
  EXPECT_THAT(
      refusal(ErrorCode::device, [&] { runtime()->compile(inline_source(text), "test", {}); }),
      AllOf(HasSubstr("inline.metal:3"), HasSubstr("absent")));
}

TEST(Emulator, NamesAKernelThatIsNotThere) {
  EXPECT_EQ(refusal(ErrorCode::invalid_argument,
                    [] { runtime()->compile(inline_source(kEmptyKernel), "other", {}); }),
            "inline.metal has no kernel 'other'");
}

TEST(Emulator, SaysThatThereIsNoCompiler) {
  Options options;
  options.compiler = "no-such-compiler";
  options.cache = cache_folder();
  const auto gpu = make_runtime(options);
  EXPECT_EQ(
      refusal(ErrorCode::device, [&] { gpu->compile(inline_source(kEmptyKernel), "test", {}); }),
      "the emulator compiles kernels with a C++ compiler, and found none: tried "
      "no-such-compiler; install one (Debian: g++)");
}

TEST(Emulator, RefusesMemoryThatCannotBeHad) {
  if (kAsan || kThreadSanitizer) GTEST_SKIP() << "sanitizers end the process instead";
  EXPECT_THAT(refusal(ErrorCode::too_large, [] { runtime()->allocate(std::size_t(1) << 60); }),
              HasSubstr("cannot be allocated"));
}

// ------------------------------------------------------------------------------------ the cache

class ObjectCacheTest : public testing::Test {
 protected:
  ObjectCacheTest()
      : folder_(testing::TempDir() + "metalconv_object_cache_" + std::to_string(getpid())) {}
  ~ObjectCacheTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  int made_ = 0;
  ObjectCache::Make make_ = [this](const std::filesystem::path& object) {
    ++made_;
    std::ofstream(object) << "object";
  };
};

TEST_F(ObjectCacheTest, MakesAnObjectOnce) {
  const ObjectCache cache(folder_);
  const auto object = cache.get("key", make_);
  EXPECT_EQ(cache.get("key", make_), object);
  EXPECT_EQ(ObjectCache(folder_).get("key", make_), object);
  EXPECT_EQ(made_, 1);
  EXPECT_NE(cache.get("another key", make_), object);
  EXPECT_EQ(made_, 2);
}

TEST_F(ObjectCacheTest, KeepsNothingOfAFailure) {
  const ObjectCache cache(folder_);
  EXPECT_THROW(cache.get("key", [](const auto&) { throw Error(ErrorCode::device, "no"); }), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  cache.get("key", make_);
  EXPECT_EQ(made_, 1);
}

TEST_F(ObjectCacheTest, IsBounded) {
  const ObjectCache cache(folder_);
  const auto first = cache.get("first", make_);
  for (std::size_t i = 1; i < ObjectCache::kMaxFiles; ++i)
    std::ofstream(folder_ / (std::to_string(i) + ".so")) << "object";
  std::filesystem::last_write_time(
      first, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  const auto last = cache.get("last", make_);
  EXPECT_FALSE(std::filesystem::exists(first));
  EXPECT_TRUE(std::filesystem::exists(last));
}

TEST_F(ObjectCacheTest, DoesWithoutAFolder) {
  std::ofstream(folder_.string()) << "a file is in the way";
  std::filesystem::path used;
  {
    const ObjectCache cache(folder_);
    used = cache.folder();
    EXPECT_TRUE(std::filesystem::exists(cache.get("key", make_)));
  }
  EXPECT_FALSE(std::filesystem::exists(used));
}

}  // namespace
}  // namespace metalconv::emulator
