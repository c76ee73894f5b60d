// SPDX-License-Identifier: Apache-2.0
// The GPU kernels without a GPU: right on the emulator, legal Metal, free of spills as CUDA, and
// the same text for everyone.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <regex>
#include <set>
#include <thread>

#include "conv_cases.h"
#include "core/registry.h"
#include "emulator/runtime.h"
#include "gpu/device.h"
#include "gpu/rows.h"
#include "gpu/winograd_nonfused.h"
#include "gpu_cases.h"
#include "legality/checker.h"
#include "metalconv/error.h"
#include "msl/msl.h"
#include "nvrtc.h"

namespace metalconv::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<std::string> kernel_files() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(METALCONV_KERNEL_FOLDER))
    if (entry.path().extension() == ".metal") names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string file_name(const testing::TestParamInfo<std::string>& test) {
  return std::regex_replace(test.param, std::regex("[^A-Za-z0-9]"), "_");
}

/// Calls work(i) for all i below `count`, on two threads.
template <class Work>
void on_two_threads(std::size_t count, const Work& work) {
  std::thread other([&] {
    for (std::size_t i = 1; i < count; i += 2) work(i);
  });
  for (std::size_t i = 0; i < count; i += 2) work(i);
  other.join();
}

/// A runtime that compiles nothing and remembers what it was given.
class RecordingRuntime final : public gpu::Runtime {
 public:
  explicit RecordingRuntime(std::vector<gpu::Source>* seen) : seen_(seen) {}

  DeviceInfo info() const override { return {}; }
  const gpu::Limits& limits() const override { return limits_; }
  std::unique_ptr<const gpu::Kernel> compile(const gpu::Source& source, const std::string& kernel,
                                             const gpu::Macros&) override {
    seen_->push_back(source);
    class Named final : public gpu::Kernel {
     public:
      explicit Named(std::string name) : name_(std::move(name)) {}
      const std::string& name() const override { return name_; }
      std::uint32_t max_threads() const override { return 1024; }

     private:
      std::string name_;
    };
    return std::make_unique<Named>(kernel);
  }
  std::unique_ptr<Buffer> allocate(std::size_t) override { return nullptr; }
  std::unique_ptr<Queue> make_queue() override { return nullptr; }
  void launch(Queue&, const gpu::Kernel&, const gpu::LaunchShape&,
              std::span<const gpu::Argument>) override {}

 private:
  std::vector<gpu::Source>* seen_;
  gpu::Limits limits_;
};

// ---------------------------------------------------------------------------------- the emulator

class OnEmulator : public testing::TestWithParam<ConvProblem> {
 protected:
  void SetUp() override {
    if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_P(OnEmulator, EveryKernelPassesTheGateInEveryLaneOrder) {
  std::vector<LaneOrder> orders{LaneOrder::shuffled};
  if (!kSanitized) orders.insert(orders.end(), {LaneOrder::forward, LaneOrder::reversed});
  EXPECT_EQ(verify_on_emulator(GetParam(), orders), "");
}

/// A third of them where instrumented code takes ten times as long; gpu_sanitize_test has every
/// kernel.
std::vector<ConvProblem> emulated_problems() {
  std::vector<ConvProblem> problems;
  for (std::size_t i = 0; i < gpu_problems().size(); i += kSanitized ? 3 : 1)
    problems.push_back(gpu_problems()[i]);
  return problems;
}

INSTANTIATE_TEST_SUITE_P(Gpu, OnEmulator, testing::ValuesIn(emulated_problems()),
                         [](const testing::TestParamInfo<ConvProblem>& test) {
                           return fmt::format("{:02}_", test.index) +
                                  std::regex_replace(to_text(test.param),
                                                     std::regex("[^A-Za-z0-9]"), "_");
                         });

gpu::DeviceParts emulator_parts(std::uint32_t compute_units) {
  emulator::Options options;
  options.executor.order = LaneOrder::shuffled;
  options.executor.threads = 2;
  options.compute_units = compute_units;
  options.cache = fmt::format("{}metalconv_gpu_test_{}", testing::TempDir(), getuid());
  gpu::DeviceParts parts;
  parts.runtime = emulator::make_runtime(options);
  return parts;
}

/// As Hopper's kernels are given to a device, which no machine without one can run.
TEST(Gpu, KernelsOfNhwcAloneDoNchwWithTensorsTurnedAround) {
  if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
  // So many units that some split their reduction, and need a workspace.
  gpu::DeviceParts parts = emulator_parts(132);
  gpu::Runtime& runtime = *parts.runtime;
  gpu::KernelCache cache(runtime);
  KernelRow own = gpu::make_row(gpu::general_kernel(), runtime, cache);
  own.name = "own";
  own.layouts = {Layout::nhwc};
  parts.own.push_back(own);
  const auto device = gpu::make_device(std::move(parts));
  const KernelRow& row = *device->registry().find(Implementation::optimized, "own");
  // Less than a square of 64 x 64, more than one, some that fill theirs; and one without outputs.
  for (const char* text :
       {"2x5x3x7,k6,3x3,p1", "2x65x5x13,k3,1x1,bias", "1x64x8x8,k64,1x1,f16,relu",
        "1x160x3x4,k70,3x3,p1,bf16,bias", "3x8x9x9,k8,3x3,s2,p1,g2,f16", "0x4x5x5,k4,3x3"}) {
    const ConvProblem problem = parse_problem(text);
    bench::Operands operands(*device, problem);
    bench::Checks checks(problem);
    EXPECT_EQ(failure_of(*device, row, problem, operands, checks), "") << text;
    const Plan plan = make_plan(*device, problem, {Implementation::optimized, "own"});
    EXPECT_THAT(plan.detail(), HasSubstr("turned to NHWC and back"));
  }
}

TEST(Gpu, WinogradGoesByChunksOfTilesWhereMemoryIsShort) {
  if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
  gpu::DeviceParts parts = emulator_parts(1);
  gpu::KernelCache cache(*parts.runtime);
  Registry registry;
  registry.add(gpu::make_row(gpu::general_kernel(), *parts.runtime, cache));
  // 36 places of 16 and 20 channels, 4 tiles.
  parts.own.push_back(gpu::winograd_nonfused_row(registry, *parts.runtime, cache, 36 * 36 * 4));
  parts.own.back().name = "own";
  const auto device = gpu::make_device(std::move(parts));
  // 12 tiles, 11 (the last chunk has one too many), and 9.
  for (const char* text : {"1x16x16x12,k20,3x3,p1,nhwc,bias", "11x16x3x4,k20,3x3,p1,nhwc",
                           "1x16x10x9,k20,3x3,p1,nhwc,relu"}) {
    const ConvProblem problem = parse_problem(text);
    bench::Operands operands(*device, problem);
    bench::Checks checks(problem);
    const KernelRow& row = *device->registry().find(Implementation::optimized, "own");
    EXPECT_EQ(failure_of(*device, row, problem, operands, checks), "") << text;
    const Plan plan = make_plan(*device, problem, {Implementation::optimized, "own"});
    EXPECT_LE(plan.workspace_bytes(), 36u * 36 * 4 * 4 + 512) << text;
  }
}

TEST(Gpu, ProblemsReachEveryKernelInEveryDtypeAndLayout) {
  for (const gpu::ConvKernel& kernel : gpu::conv_kernels()) {
    for (const Layout layout : kernel.layouts) {
      for (const DType dtype : kernel.dtypes) {
        const auto suits = [&](const ConvProblem& p) {
          return p.dtype == dtype && p.layout == layout &&
                 (!kernel.supports || kernel.supports(p, gpu::Limits{}).empty());
        };
        EXPECT_TRUE(std::any_of(gpu_problems().begin(), gpu_problems().end(), suits))
            << kernel.name << " " << to_string(dtype) << " " << to_string(layout);
      }
    }
  }
}

TEST(Gpu, OptimizedDoesWhatBasicDoesAndNeverByTheLadder) {
  std::vector<gpu::Source> seen;
  const auto device = gpu::make_device({std::make_unique<RecordingRuntime>(&seen), {}, {}, true});
  for (const ConvProblem& problem : covering_problems()) {
    int chosen = 0;
    for (const Candidate& c : explain(*device, problem)) {
      if (!c.chosen) continue;
      ++chosen;
      EXPECT_THAT(c.row->name, testing::Not(testing::StartsWith("ladder"))) << to_text(problem);
    }
    EXPECT_EQ(chosen, 2) << to_text(problem);
  }
}

/// y may begin anywhere that an element may: vector stores must not assume more.
TEST(Gpu, OutputsMayBeginAtAnyElement) {
  if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
  Device& device = emulator_device(LaneOrder::forward);
  const ConvProblem p = parse_problem("1x1x5x8,k8,1x1");
  std::vector<float> x(40), w(8), expected(320), got(320);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = float(i + 1);
  conv2d(device, p, x.data(), w.data(), nullptr, expected.data(), {Implementation::basic, {}});
  const auto queue = device.make_queue();
  const auto xb = device.allocate(160), wb = device.allocate(32), yb = device.allocate(1280 + 16);
  xb->upload(x.data(), 160);
  wb->upload(w.data(), 32);
  for (const char* kernel : {"direct", "general", "ladder3", "ladder4"}) {
    const Plan plan = make_plan(device, p, {Implementation::optimized, kernel});
    const auto packed = device.allocate(plan.packed_bytes());
    plan.pack(*queue, w_view(p, wb->memory()), packed->memory());
    for (std::size_t shift = 0; shift < 4; ++shift) {
      Memory y = yb->memory();
      y.offset += 4 * shift;
      y.bytes = 1280;
      plan.execute(*queue, x_view(p, xb->memory()), packed->memory(), {}, y_view(p, y), {});
      yb->download(got.data(), 1280, 4 * shift);
      EXPECT_EQ(got, expected) << kernel << ", shifted by " << shift;
    }
  }
}

TEST(Gpu, SizesBeyondTheKernelsAreRefusedInWords) {
  const auto refusal = [](const char* text) {
    return gpu::size_refusal(parse_problem(text), gpu::Limits{});
  };
  EXPECT_EQ(refusal("1x1x1x2147418111,k1,1x1"),
            "W with its padding is 2147418111, but the GPU kernels count an axis in 31 bits");
  EXPECT_THAT(refusal("1x1x2000000000x1,k1,1x1,s1000000000x1"), HasSubstr("H with its padding"));
  EXPECT_EQ(refusal("1x1x1x2000000000,k1,1x1"), "");
  EXPECT_EQ(refusal("1x1x1x1,k1,1x1,s3000000000,d3000000000"), "");
}

// ------------------------------------------------------------------------------ one text for all

/// Runtime::compile is what stands before Metal's newLibrary, NVRTC and the emulator: each takes
/// this string, and the latter two translate it as a whole.
TEST(Gpu, EveryRuntimeIsGivenTheTextOfTheFile) {
  std::vector<gpu::Source> seen;
  const auto device = gpu::make_device({std::make_unique<RecordingRuntime>(&seen), {}, {}, true});
  for (const ConvProblem& problem : gpu_problems())
    for (const KernelRow& row : device->registry().rows())
      if (row.refusal(problem).empty()) make_plan(*device, problem, {row.implementation, row.name});
  std::set<std::string> files;
  for (const gpu::Source& source : seen) {
    EXPECT_EQ(source.text, msl::load_source(METALCONV_KERNEL_FOLDER "/../" + source.file));
    files.insert(fs::path(source.file).filename().string());
  }
  for (const std::string& file : kernel_files())
    EXPECT_TRUE(files.count(file) == 1 || file == "roofs.metal" || file == "turn.metal")
        << file << " is of no row";
}

// ------------------------------------------------------------- every kernel and every macro set

class KernelText : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "other compilers' work: the release build has it done";
  }
  static std::vector<gpu::KernelKey> keys(std::vector<ConvProblem> problems) {
    std::vector<gpu::KernelKey> keys;
    for (const gpu::KernelKey& key : kernel_keys(problems))
      if (key.file == GetParam()) keys.push_back(key);
    return keys;
  }
  /// Failures of threads; a test may only fail in its own.
  void fail(const std::string& sentence) {
    const std::lock_guard lock(mutex_);
    failures_ += sentence + "\n";
  }
  void TearDown() override { EXPECT_EQ(failures_, ""); }

 private:
  std::mutex mutex_;
  std::string failures_;
};

TEST_P(KernelText, IsLegalMetal) {
  if (legality::find_clang().empty()) GTEST_SKIP() << "no clang++ 16 or newer";
  const gpu::Source& source = gpu::kernel_source(GetParam());
  const auto all = keys(gpu_problems());
  EXPECT_FALSE(all.empty());
  on_two_threads(all.size(), [&](std::size_t i) {
    const legality::Checker checker(legality::find_clang());
    const legality::Macros macros(all[i].macros.begin(), all[i].macros.end());
    for (const auto& finding : checker.check(source.text, source.file, macros))
      fail(fmt::format("{}\n{}:{}: [{}] {}", describe(all[i]), finding.file, finding.line,
                       finding.rule, finding.message));
  });
}

/// One of those that differ in dtype, epilogue and how many threads or channels share a tile alone,
/// the first: the tuned ones come first.
std::vector<gpu::KernelKey> different_loops(const std::vector<gpu::KernelKey>& all) {
  std::set<gpu::KernelKey> seen;
  std::vector<gpu::KernelKey> kept;
  for (const gpu::KernelKey& key : all) {
    gpu::KernelKey loops = key;
    for (const char* name :
         {"ELEM", "BIAS", "ACTIVATION", "QUADS", "LANES_K", "LANES_X", "LANES_Y"})
      loops.macros.erase(name);
    if (seen.insert(loops).second) kept.push_back(key);
  }
  return kept;
}

/// Three of many, as far apart as can be; all of them where METALCONV_TEST_ALL is set, as by
/// ./test --all: each takes the compiler half a second.
std::vector<gpu::KernelKey> sample(const std::vector<gpu::KernelKey>& all) {
  constexpr std::size_t kFew = 3;
  if (std::getenv("METALCONV_TEST_ALL") || all.size() <= kFew) return all;
  std::vector<gpu::KernelKey> few;
  for (std::size_t i = 0; i < kFew; ++i) few.push_back(all[i * (all.size() - 1) / (kFew - 1)]);
  return few;
}

// For one architecture, and small problems' kernels in one dtype only: compiling takes long.
TEST_P(KernelText, CompilesAsCudaWithoutLocalMemory) {
  const Nvrtc nvrtc;
  if (!nvrtc.found()) GTEST_SKIP() << "no NVRTC: the CUDA translation is not compiled";
  const gpu::Source& source = gpu::kernel_source(GetParam());
  const std::string text = msl::to_cuda(source.text, source.file).text;
  std::vector<gpu::KernelKey> all = keys(tuned_problems());
  for (const gpu::KernelKey& key : keys(gpu_problems())) all.push_back(key);
  all = sample(different_loops(all));
  on_two_threads(all.size(), [&](std::size_t i) {
    std::vector<std::string> options{"--gpu-architecture=sm_90"};
    for (const auto& [name, value] : all[i].macros) options.push_back("-D" + name + "=" + value);
    const auto result = nvrtc.compile(text, options);
    const std::string problem = result.ok ? local_memory(result.log) : "does not compile";
    if (!problem.empty()) fail(fmt::format("{}: {}\n{}", describe(all[i]), problem, result.log));
  });
}

INSTANTIATE_TEST_SUITE_P(Gpu, KernelText, testing::ValuesIn(kernel_files()), file_name);

}  // namespace
}  // namespace metalconv::test
