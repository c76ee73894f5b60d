// SPDX-License-Identifier: Apache-2.0
// The CUDA device: its host code on a driver that stands in for NVIDIA's, cuDNN's real engines
// chosen for an H100 that is not there, and all of it where there is a GPU.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "core/half.h"
#include "core/reference.h"
#include "cuda/compiler.h"
#include "cuda/conv_graph.h"
#include "cuda/driver.h"
#include "cuda/hopper/rows.h"
#include "cuda/runtime.h"
#include "cuda/session.h"
#include "cuda/vendor.h"
#include "fake_cuda/fake_cuda.h"
#include "gpu/device.h"
#include "metalconv/cuda.h"
#include "metalconv/error.h"
#include "metalconv/plan.h"
#include "metalconv/wisdom.h"
#include "msl/msl.h"

// What NVIDIA's own libraries leave behind is not ours to mend.
extern "C" const char* __lsan_default_suppressions();   // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:libcudnn\nleak:libcublas\nleak:libnvrtc\n";
}

namespace metalconv::cuda {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// The Error that `body` throws.
template <class Body>
Error error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::io, ""};
}

// ---- where libraries are looked for ----

class Tree {
 public:
  Tree() : root_(fs::temp_directory_path() / fmt::format("metalconv [cuda] {}", getpid())) {
    fs::create_directories(root_);
  }
  ~Tree() { fs::remove_all(root_); }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  const fs::path& root() const { return root_; }
  fs::path folder(const std::string& name) const {
    fs::create_directories(root_ / name);
    return root_ / name;
  }
  fs::path file(const std::string& name) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << "not a library";
    return root_ / name;
  }

 private:
  fs::path root_;
};

Places places_of(const Tree& tree, const std::map<std::string, std::string>& variables,
                 const fs::path& program = {}) {
  const auto variable = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
  return find_places(variable, program, tree.root());
}

TEST(CudaPlaces, TheVariableAndTheProgramsFolderComeFirst) {
  const Tree tree;
  const auto own = tree.folder("own"), own_lib = tree.folder("own/lib64");
  const auto bin = tree.folder("app/bin"), lib = tree.folder("app/lib");
  const Places places = places_of(
      tree, {{"METALCONV_CUDA_PATH", own.string() + ":" + (tree.root() / "missing").string()}},
      bin / "metalconv");
  EXPECT_THAT(places.before, ElementsAre(own, own_lib, bin, bin / "../lib"));
  EXPECT_TRUE(places.after.empty());
}

TEST(CudaPlaces, ToolkitsByVersionThenPythonEnvironments) {
  const Tree tree;
  const auto old_cuda = tree.folder("usr/local/cuda-12.8/lib64");
  const auto new_cuda = tree.folder("usr/local/cuda-13.0/lib64");
  const auto active = tree.folder("env/lib/python3.11/site-packages/nvidia/cudnn/lib");
  tree.file("path env/bin/python3");
  const auto on_path = tree.folder("path env/lib/python3.12/site-packages/nvidia/cu13/lib");
  const auto system = tree.folder("usr/lib/python3/dist-packages/nvidia/cuda_nvrtc/lib");
  const auto hidden = tree.folder("opt/torch/.venv/lib/python3.12/site-packages/torch/lib");
  tree.folder("opt/torch/.venv/lib/python3.12/site-packages/numpy/lib");
  const Places places =
      places_of(tree, {{"VIRTUAL_ENV", (tree.root() / "env").string()},
                       {"PATH", "/nowhere:" + (tree.root() / "path env/bin").string()}});
  EXPECT_THAT(places.after, ElementsAre(new_cuda, old_cuda, active, tree.root() / "env/lib",
                                        on_path, system, hidden));
}

TEST(CudaPlaces, AFileThatDoesNotOpenIsReportedAndTheNextIsTried) {
  const Tree tree;
  tree.file("bad/libcuda.so.1");
  const Places bad{{tree.root() / "bad"}, false, {}};
  const Library library = Library::open({"libcuda.so.1"}, bad);
  EXPECT_FALSE(library);
  EXPECT_THAT(library.failure(), HasSubstr("bad/libcuda.so.1"));
  EXPECT_EQ(library.find("cuInit"), nullptr);
  const Places mended{{tree.root() / "bad"}, false, {METALCONV_FAKE_CUDA}};
  EXPECT_TRUE(Library::open({"libcuda.so.1"}, mended));
}

// ---- what is missing is named ----

const Places kNowhere{{}, false, {}};

TEST(CudaMissing, EachLibraryHasASentence) {
  const Error driver = error_of([] { Context(0, kNowhere); });
  EXPECT_EQ(driver.code(), ErrorCode::device);
  EXPECT_STREQ(driver.what(), "no NVIDIA driver: libcuda.so.1 was not found");
  EXPECT_EQ(count_devices(kNowhere), 0);
  EXPECT_THAT(error_of([] { Compiler(kNowhere, 13000); }).what(),
              HasSubstr("no CUDA compiler: libnvrtc.so.13 or libnvrtc.so.12 was not found"));
  EXPECT_THAT(error_of([] { Compiler(kNowhere, 12080); }).what(),
              HasSubstr("libnvrtc.so.12 or libnvrtc.so.13"));
  EXPECT_STREQ(error_of([] { cudnn::Api api(kNowhere); }).what(),
               "no cuDNN: libcudnn.so.9 was not found");
}

TEST(CudaMissing, ATooOldLibraryNamesTheFunction) {
  const Tree tree;
  fs::copy_file(METALCONV_FAKE_CUDA "/libnvrtc.so.13", tree.root() / "libcuda.so.1");
  EXPECT_THAT(error_of([&] {
                Context(0, {{tree.root()}, false, {}});
              }).what(),
              HasSubstr("has no function 'cuInit'"));
}

// ---- the runtime on the stand-in ----

using fake_cuda::AddParams;
using fake_cuda::Counters;

const Places kStandIn{{METALCONV_FAKE_CUDA}, false, {}};

const gpu::Source kSource{"kernels/add.metal", R"(#include <metal_stdlib>
using namespace metal;
struct AddParams { uint count; float value; };
kernel void add_value(device float* y [[buffer(2)]],
                      constant AddParams& p [[buffer(0)]],
                      const device float* x [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) {
  if (i < p.count) y[i] = x[i] + p.value;
}
)"};

class CudaRuntimeTest : public testing::Test {
 protected:
  CudaRuntimeTest() : control_(Library::open({"libcuda.so.1"}, kStandIn)) {
    context_ = std::make_shared<const Context>(0, kStandIn);
    runtime_ = make_runtime(context_, kStandIn);
  }
  ~CudaRuntimeTest() override {
    runtime_.reset();
    context_.reset();
    Counters left = counters();
    left.launches = left.graph_runs = 0;
    EXPECT_EQ(left, Counters()) << "something was not released";
  }

  Counters counters() const {
    return Function<fake_cuda::CountersFunction>(control_, "fake_cuda_counters")();
  }
  void fail_next(const char* function, int code) const {
    Function<fake_cuda::FailFunction>(control_, "fake_cuda_fail")(function, code);
  }
  std::unique_ptr<const gpu::Kernel> add_value() {
    return runtime_->compile(kSource, "add_value", {});
  }
  std::unique_ptr<Buffer> floats(const std::vector<float>& values) {
    auto buffer = runtime_->allocate(values.size() * sizeof(float));
    buffer->upload(values.data(), values.size() * sizeof(float));
    return buffer;
  }
  static std::vector<float> download(const Buffer& buffer) {
    std::vector<float> values(buffer.memory().bytes / sizeof(float));
    buffer.download(values.data(), buffer.memory().bytes);
    return values;
  }

  Library control_;
  std::shared_ptr<const Context> context_;
  std::unique_ptr<gpu::Runtime> runtime_;
};

TEST_F(CudaRuntimeTest, DescribesTheDevice) {
  const DeviceInfo info = runtime_->info();
  EXPECT_EQ(info.name, "cuda");
  EXPECT_EQ(info.model, "Stand-in GPU");
  EXPECT_EQ(info.compute_units, 132);
  EXPECT_EQ(info.last_level_cache_bytes, 52428800u);
  EXPECT_EQ(info.facts.at("CUDA"), "13.0");
  EXPECT_EQ(info.facts.at("NVRTC"), "13.0");
  EXPECT_EQ(info.facts.at("compute capability"), "9.0");
  EXPECT_EQ(info.facts.at("SM clock"), "1980 MHz at most");
  EXPECT_EQ(runtime_->limits().groups.y, 65535u);
  EXPECT_EQ(runtime_->limits().threadgroup_bytes, 49152u);
}

TEST_F(CudaRuntimeTest, ArgumentsReachTheirParametersByBufferIndex) {
  const auto kernel = add_value();
  EXPECT_EQ(kernel->name(), "add_value");
  EXPECT_EQ(kernel->max_threads(), 256u);
  const auto queue = runtime_->make_queue();
  const auto x = floats({0, 1, 2, 3}), y = floats({9, 9, 9, 9});
  const AddParams params{2, 0.5f};
  Memory tail = x->memory();
  tail.offset = 2 * sizeof(float);
  const gpu::Argument arguments[] = {gpu::constants(params), tail, y->memory()};
  runtime_->launch(*queue, *kernel, {{1, 1, 1}, {64, 1, 1}}, arguments);
  queue->wait();
  EXPECT_THAT(download(*y), ElementsAre(2.5f, 3.5f, 9, 9));
  EXPECT_EQ(counters().stacked, 0) << "a context was left current";
}

TEST_F(CudaRuntimeTest, NoGroupRunsNothingAndAnUnboundBufferIsNull) {
  const auto kernel = add_value();
  const auto queue = runtime_->make_queue();
  const auto y = floats({9});
  const AddParams params{1, 4};
  const gpu::Argument arguments[] = {gpu::constants(params), Memory{}, y->memory()};
  runtime_->launch(*queue, *kernel, {{1, 0, 1}, {64, 1, 1}}, arguments);
  EXPECT_THAT(download(*y), ElementsAre(9));
  runtime_->launch(*queue, *kernel, {{1, 1, 1}, {64, 1, 1}}, arguments);
  EXPECT_THAT(download(*y), ElementsAre(4));
}

TEST_F(CudaRuntimeTest, RefusesShapesAndArgumentsInWords) {
  const auto kernel = add_value();
  const auto queue = runtime_->make_queue();
  const auto y = floats({9});
  const AddParams params{1, 4};
  const gpu::Argument good[] = {gpu::constants(params), Memory{}, y->memory()};
  const gpu::Argument bad[] = {y->memory(), Memory{}, y->memory()};
  const auto launch = [&](gpu::LaunchShape shape, std::span<const gpu::Argument> arguments) {
    const Error error = error_of([&] { runtime_->launch(*queue, *kernel, shape, arguments); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return std::string(error.what());
  };
  EXPECT_THAT(launch({{1, 1, 1}, {512, 1, 1}}, good), HasSubstr("must be 1 to 256 in all"));
  EXPECT_THAT(launch({{1, 70000, 1}, {64, 1, 1}}, good), HasSubstr("65535"));
  EXPECT_THAT(launch({{1, 1, 1}, {1, 1, 128}}, good), HasSubstr("at most 64 along z"));
  EXPECT_THAT(launch({{1, 1, 1}, {64, 1, 1}}, bad),
              HasSubstr("argument 0 of kernel 'add_value' is memory, but 'p' is a struct"));
  EXPECT_THAT(download(*y), ElementsAre(9));
}

TEST_F(CudaRuntimeTest, RunsOnTheCallersStreamAndMemory) {
  const auto kernel = add_value();
  const Function<int(void**, unsigned)> create(control_, "cuStreamCreate");
  const Function<int(void*)> destroy(control_, "cuStreamDestroy_v2");
  void* stream = nullptr;
  {
    const Current current(*context_);
    ASSERT_EQ(create(&stream, kStreamNonBlocking), 0);
  }
  std::vector<float> x{1, 2, 3}, y(3);  // device memory of someone else's, on the stand-in
  const AddParams params{2, 0.5f};
  const gpu::Argument arguments[] = {gpu::constants(params),
                                     wrap(pointer_of(x.data()), 8, sizeof(float)),
                                     wrap(pointer_of(y.data()), 12)};
  for (void* on : {stream, static_cast<void*>(nullptr)}) {
    y = {9, 9, 9};
    const auto queue = runtime_->make_queue_on(on);
    EXPECT_EQ(stream_of(*queue), on);
    EXPECT_EQ(counters().streams, 1) << "a stream of its own";
    runtime_->launch(*queue, *kernel, {{1, 1, 1}, {64, 1, 1}}, arguments);
    queue->wait();
    EXPECT_THAT(y, ElementsAre(2.5f, 3.5f, 9));
    EXPECT_NEAR(queue->time([&] {
      runtime_->launch(*queue, *kernel, {{}, {64, 1, 1}}, arguments);
    }),
                fake_cuda::kLaunchSeconds, 1e-9);
  }
  EXPECT_EQ(counters().blocks, 0);
  EXPECT_EQ(counters().streams, 1) << "the caller's stream is the caller's to destroy";
  const Current current(*context_);
  EXPECT_EQ(destroy(stream), 0);
}

TEST_F(CudaRuntimeTest, TimesTheReplayOfAGraph) {
  const auto kernel = add_value();
  const int before = counters().graph_runs;
  const auto queue = runtime_->make_queue();
  const auto y = floats({0});
  const AddParams params{1, 1};
  const gpu::Argument arguments[] = {gpu::constants(params), y->memory(), y->memory()};
  const auto five = [&] {
    for (int i = 0; i < 5; ++i) runtime_->launch(*queue, *kernel, {{}, {64, 1, 1}}, arguments);
  };
  EXPECT_NEAR(queue->time(five), 5 * fake_cuda::kLaunchSeconds, 1e-9);
  EXPECT_THAT(download(*y), ElementsAre(5)) << "each launch must run once";
  EXPECT_EQ(counters().graph_runs, before + 1);
  for (const char* function :
       {"cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"}) {
    fail_next(function, 900);
    EXPECT_NEAR(queue->time(five), 5 * fake_cuda::kLaunchSeconds, 1e-9) << function;
  }
  EXPECT_THAT(download(*y), ElementsAre(20)) << "what cannot be captured runs plainly, once";
  EXPECT_EQ(counters().graph_runs, before + 1);
}

TEST_F(CudaRuntimeTest, AnErrorWhileTimingIsThrown) {
  const auto queue = runtime_->make_queue();
  const auto refuse = [] { throw Error(ErrorCode::unsupported, "no"); };
  EXPECT_EQ(error_of([&] { queue->time(refuse); }).code(), ErrorCode::unsupported);
}

TEST_F(CudaRuntimeTest, DriverFailuresCarryTheirNameAndWords) {
  const auto kernel = add_value();
  const auto queue = runtime_->make_queue();
  const auto y = floats({9});
  const AddParams params{1, 4};
  const gpu::Argument arguments[] = {gpu::constants(params), Memory{}, y->memory()};
  fail_next("cuLaunchKernel", 700);
  const Error launch = error_of([&] {
    runtime_->launch(*queue, *kernel, {{}, {64, 1, 1}}, arguments);
  });
  EXPECT_EQ(launch.code(), ErrorCode::device);
  EXPECT_STREQ(launch.what(),
               "the launch of kernel 'add_value' failed: CUDA_ERROR_FAKE (a failure of the "
               "stand-in)");
  fail_next("cuStreamSynchronize", 700);
  EXPECT_THAT(error_of([&] { queue->wait(); }).what(), HasSubstr("cuStreamSynchronize failed"));
  fail_next("cuModuleLoadData", 209);
  EXPECT_EQ(error_of([&] { add_value(); }).code(), ErrorCode::device);
}

TEST_F(CudaRuntimeTest, MemoryThatCannotBeHadIsTooLarge) {
  const Error error = error_of([&] { runtime_->allocate(std::size_t(1) << 40); });
  EXPECT_EQ(error.code(), ErrorCode::too_large);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("1099511627776 bytes"), HasSubstr("Stand-in GPU"),
                                  HasSubstr("CUDA_ERROR_OUT_OF_MEMORY (out of memory)")));
  fail_next("cuMemAlloc_v2", 700);
  EXPECT_EQ(error_of([&] { runtime_->allocate(16); }).code(), ErrorCode::device);
}

TEST_F(CudaRuntimeTest, CopiesStayInsideTheBuffer) {
  const auto empty = runtime_->allocate(0);
  EXPECT_EQ(empty->memory().bytes, 0u);
  const auto buffer = floats({1, 2, 3});
  float two[2];
  buffer->download(two, sizeof(two), 4);
  EXPECT_EQ(two[1], 3);
  EXPECT_THAT(error_of([&] { buffer->download(two, 8, 8); }).what(),
              HasSubstr("8 bytes at offset 8 ends past the buffer's 12 bytes"));
  EXPECT_THROW(buffer->upload(two, SIZE_MAX, 4), Error);
}

TEST_F(CudaRuntimeTest, CompilerFailuresCarryTheLog) {
  gpu::Source broken = kSource;
  broken.file = "kernels/broken.metal";
  const Error error = error_of([&] { runtime_->compile(broken, "add_value", {{"X", "BROKEN"}}); });
  EXPECT_EQ(error.code(), ErrorCode::device);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("kernels/broken.metal does not compile for CUDA"),
                    HasSubstr("NVRTC_ERROR_COMPILATION"), HasSubstr("error: BROKEN")));
  EXPECT_THAT(error_of([&] { runtime_->compile(kSource, "missing", {}); }).what(),
              HasSubstr("kernels/add.metal has no kernel 'missing'"));
}

TEST_F(CudaRuntimeTest, AnOrdinalTooHighIsRefused) {
  const Error error = error_of([] { Context(3, kStandIn); });
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_STREQ(error.what(), "the CUDA device's ordinal is 3, but must be 0 to 0");
}

// ---- the compiler ----

TEST(CudaCompiler, ChoosesMachineCodeOfTheSameGenerationElsePtx) {
  const Compiler compiler(kStandIn, 13000);  // knows 75, 80 and 90
  EXPECT_EQ(compiler.architecture(90), "--gpu-architecture=sm_90");
  EXPECT_EQ(compiler.architecture(89), "--gpu-architecture=sm_80");
  EXPECT_EQ(compiler.architecture(120), "--gpu-architecture=compute_90");
  EXPECT_THAT(error_of([&] { compiler.architecture(70); }).what(),
              HasSubstr("NVRTC 13.0 does not compile for sm_70"));
}

TEST(CudaCompiler, HandsOverOptionsMacrosAndHeaders) {
  const Compiler compiler(kStandIn, 13000);
  const auto image = compiler.compile({"kernels/k.metal", "the text"}, {{"TILE", "8"}}, 90);
  const std::string text(image.data());
  for (const char* part :
       {"// kernels/k.metal\n", "the text", "// -DTILE=8\n", "// --gpu-architecture=sm_90\n",
        "// --std=c++20\n", "// --device-as-default-execution-space\n", "// header msl_cuda.h of "})
    EXPECT_THAT(text, HasSubstr(part));
  const auto own = compiler.compile({"kernels/k.cu", "the text"}, {}, 90, true);
  EXPECT_THAT(own.data(), HasSubstr("// --gpu-architecture=sm_90a\n"));
}

TEST_F(CudaRuntimeTest, HopperHasRowsOfItsOwn) {
  const auto parts = hopper::parts(context_, kStandIn, runtime_->limits());
  ASSERT_EQ(parts.rows.size(), 3u);
  const auto refusal = [&](int row, const char* text) {
    return parts.rows[std::size_t(row)].refusal(parse_problem(text));
  };
  EXPECT_EQ(refusal(0, "1x64x9x9,k64,3x3,p1,f16,nhwc"), "");
  EXPECT_EQ(refusal(0, "1x64x9x9,k64,3x3,p1,tf32,nhwc"), "");
  EXPECT_EQ(refusal(1, "1x64x9x9,k64,3x3,p1,nhwc"), "");
  EXPECT_THAT(refusal(0, "1x64x9x9,k64,3x3,p1,nhwc"), HasSubstr("the precision is ieee"));
  EXPECT_THAT(refusal(1, "1x64x9x9,k64,3x3,p1,tf32,nhwc"), HasSubstr("ieee precision"));
  EXPECT_THAT(refusal(0, "1x64x9x9,k64,3x3,p1,f16"), HasSubstr("layout is nchw"));
  EXPECT_THAT(refusal(1, "1x3x9x9,k64,3x3,p1,nhwc"), HasSubstr("C/groups is 3"));
  EXPECT_EQ(refusal(2, "1x3x9x9,k64,3x3,p1,f16,nhwc"), "");
  EXPECT_THAT(refusal(2, "1x3x9x9,k64,3x3,p1,nhwc"), HasSubstr("dtype is f32"));
  EXPECT_THAT(refusal(2, "1x64x9x9,k64,3x3,p1,f16,nhwc"), HasSubstr("C is 64"));
  EXPECT_TRUE(parts.roofs);
}

/// Of choices for NVIDIA GPUs, those that `device` could not follow.
std::vector<std::string> stale(const Wisdom& choices, const Device& device) {
  std::vector<std::string> found;
  for (const WisdomEntry& e : choices.entries()) {
    if (!e.machine.starts_with("cuda, ")) continue;
    const ConvProblem p = parse_problem(e.problem);
    const KernelRow* row = device.registry().find(Implementation::optimized, e.kernel);
    const std::string why = !row                           ? "there is no such kernel"
                            : !row->refusal(p).empty()     ? row->refusal(p)
                            : !std::isfinite(row->cost(p)) ? "it is only for those who name it"
                                                           : "";
    if (!why.empty()) found.push_back(fmt::format("{} for {}: {}", e.kernel, e.problem, why));
  }
  return found;
}

TEST_F(CudaRuntimeTest, ShippedChoicesAreOfKernelsThatDoTheProblem) {
  gpu::DeviceParts made;
  made.runtime = make_runtime(context_, kStandIn);
  made.own = hopper::parts(context_, kStandIn, runtime_->limits()).rows;
  const auto device = gpu::make_device(std::move(made));
  for (const Wisdom& choices : shipped_choices())
    EXPECT_THAT(stale(choices, *device), testing::IsEmpty());

  Wisdom bad;
  const auto add = [&](const char* problem, const char* kernel) {
    bad.record({"cuda, Stand-in GPU", to_text(parse_problem(problem)), kernel, {{kernel, 1.0}}});
  };
  add("1x64x9x9,k64,3x3,p1,nhwc", "hopper_f32");  // this one is right
  add("1x64x9x9,k64,3x3,p1", "hopper_f32");       // as is this, turned around
  add("1x3x9x9,k64,3x3,p1", "hopper_f32");
  add("1x64x9x9,k64,1x1", "gone");
  add("1x3x9x9,k64,3x3", "ladder1");
  EXPECT_THAT(stale(bad, *device),
              ElementsAre(HasSubstr("C/groups is 3"), HasSubstr("no such kernel"),
                          HasSubstr("only for those who name it")));
}

TEST(CudaCompiler, TheRealOneTakesTheOptions) {
  try {
    const Compiler compiler(this_process_places(), 13000);
    for (int capability : {80, 90}) {
      const auto image =
          compiler.compile({kSource.file, msl::to_cuda(kSource.text, kSource.file).text},
                           {{"TILE", "8"}}, capability);
      ASSERT_GT(image.size(), 4u);
      EXPECT_EQ(std::memcmp(image.data(),
                            "\x7f"
                            "ELF",
                            4),
                0);
    }
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
}

/// Zero-mean host data of a problem, and the oracle's verdict on an output.
class HostTensors {
 public:
  explicit HostTensors(const ConvProblem& p)
      : x(made(p.dtype, p.x_elements(), 1)),
        w(made(p.dtype, p.w_elements(), 2)),
        bias(made(p.dtype, p.K, 3)),
        problem_(p) {}

  /// The worst |y - reference| / bound over all outputs: above 1, or NaN, is wrong.
  double worst(const std::vector<std::byte>& y, const KernelRow& row) const {
    const ConvProblem& p = problem_;
    const Reference reference(p, x.data(), w.data(), bias.data());
    const auto strides = y_view(p, {}).strides;
    double worst = 0;
    for (std::int64_t i = 0; i < p.y_elements(); ++i) {
      const std::int64_t n = i / (p.K * p.P() * p.Q()), k = i / (p.P() * p.Q()) % p.K,
                         row_of = i / p.Q() % p.P(), column = i % p.Q();
      const Expected expected = reference.at(n, k, row_of, column);
      const std::int64_t at =
          n * strides[0] + k * strides[1] + row_of * strides[2] + column * strides[3];
      const double error = std::abs(to_double(p.dtype, y.data(), at) - expected.value);
      if (std::isnan(error)) return error;
      worst = std::max(worst, error / error_bound(row, p, expected));
    }
    return worst;
  }

  std::vector<std::byte> x, w, bias;

 private:
  static std::vector<std::byte> made(DType dtype, std::int64_t elements, int seed) {
    std::vector<std::byte> data(std::size_t(elements) * size_of(dtype));
    for (std::int64_t i = 0; i < elements; ++i)
      from_double(dtype, double((i * 7919 + seed) % 1999) / 999.5 - 1, data.data(), i);
    return data;
  }

  ConvProblem problem_;
};

// ---- the choice among cuDNN's engines, on the stand-in ----

class CudnnSearchTest : public CudaRuntimeTest {
 protected:
  struct Result {
    double worst = 0;  ///< |y - reference| / bound
    std::string detail;
  };

  Result run(const std::string& text) {
    const ConvProblem p = parse_problem(text);
    const KernelRow row = vendor_row(context_, *runtime_, kStandIn);
    EXPECT_EQ(row.name, "cudnn-9.1.0");
    EXPECT_EQ(row.refusal(p), "");
    const Plan plan(p, row, row.make(p));
    const HostTensors host(p);
    const auto queue = runtime_->make_queue();
    const auto buffer = [&](const std::vector<std::byte>& bytes) {
      auto made = runtime_->allocate(bytes.size());
      made->upload(bytes.data(), bytes.size());
      return made;
    };
    const auto x = buffer(host.x), w = buffer(host.w), bias = buffer(host.bias);
    const auto y = runtime_->allocate(std::size_t(p.y_bytes()));
    const auto packed = runtime_->allocate(plan.packed_bytes());
    const auto workspace = runtime_->allocate(plan.workspace_bytes());
    plan.pack(*queue, w_view(p, w->memory()), packed->memory());
    plan.execute(*queue, x_view(p, x->memory()), packed->memory(), bias_view(p, bias->memory()),
                 y_view(p, y->memory()), workspace->memory());
    queue->wait();
    std::vector<std::byte> out(std::size_t(p.y_bytes()));
    y->download(out.data(), out.size());
    return {host.worst(out, row), plan.detail()};
  }
};

TEST_F(CudnnSearchTest, TheFastestRightEngineOfEitherLayout) {
  // Engine 1 takes 1 ms in NCHW, and 0.5 ms with 0.2 ms of conversions in NHWC. Engines 2 to 6 are
  // faster, but wrong, refused, failing, on the matrix units, or want too much memory.
  const Result nchw = run("1x6x7x9,k4,3x3,p1,g2");
  EXPECT_LE(nchw.worst, 1);
  EXPECT_EQ(nchw.detail,
            "cuDNN 9.1.0, engine 1, NHWC inside, 6 of 10 plans measured, 2 inaccurate");
  const Result nhwc = run("2x6x7x9,k4,3x2,s2x1,p1x0x0x2,d1x2,nhwc,bias,relu6");
  EXPECT_LE(nhwc.worst, 1);
  EXPECT_THAT(nhwc.detail, HasSubstr("engine 1, NHWC inside"));
}

TEST_F(CudnnSearchTest, MatrixUnitsWhereThePrecisionAllowsThem) {
  for (const char* text : {"1x6x7x9,k4,3x3,tf32,nhwc", "1x6x7x9,k4,3x3,f16,nhwc,bias",
                           "1x6x7x9,k4,3x3,bf16,nhwc,relu"}) {
    const Result result = run(text);
    EXPECT_LE(result.worst, 1) << text;
    EXPECT_THAT(result.detail, HasSubstr("engine 5, NHWC inside")) << text;
  }
}

TEST_F(CudnnSearchTest, AnEpilogueOfItsOwnWhereTheWholeIsNotOffered) {
  for (const char* text :
       {"1x6x7x9,k4,3x3,silu", "2x6x7x9,k4,3x3,bias,silu,nhwc", "1x6x7x9,k4,3x3,f16,bias,silu"}) {
    const Result result = run(text);
    EXPECT_LE(result.worst, 1) << text;
    EXPECT_THAT(result.detail, testing::ContainsRegex("engine [15] . 0, N")) << text;
  }
}

TEST_F(CudnnSearchTest, MisalignedOperandsAreRefused) {
  const ConvProblem p = parse_problem("1x4x4x4,k4,1x1");
  const KernelRow row = vendor_row(context_, *runtime_, kStandIn);
  const Plan plan(p, row, row.make(p));
  const auto queue = runtime_->make_queue();
  const auto x = runtime_->allocate(std::size_t(p.x_bytes()) + 4), y = runtime_->allocate(4096),
             packed = runtime_->allocate(4096), workspace = runtime_->allocate(1 << 16);
  Memory odd = x->memory();
  odd.offset = 4;
  odd.bytes -= 4;
  EXPECT_THAT(error_of([&] {
                plan.execute(*queue, x_view(p, odd), packed->memory(), {}, y_view(p, y->memory()),
                             workspace->memory());
              }).what(),
              HasSubstr("but cuDNN needs a multiple of 16 bytes"));
}

// ---- cuDNN: real engines for a device that is not there ----

/// An H100 as cuDNN writes one down.
constexpr const char* kH100 = R"({
  "deviceName": "NVIDIA H100 80GB HBM3", "cudaDeviceId": 0, "pciDeviceId": 0, "isTccDriver": 0,
  "deviceVer": 900, "driverVer": 13000, "supportCoopLaunch": 1, "multiProcessorCount": 132,
  "warpSize": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32, "regsPerBlock": 65536,
  "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152,
  "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
  "totalGlobalMem": 84000000000, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
  "l2CacheSize": 52428800})";

class CudnnTest : public testing::Test {
 protected:
  void SetUp() override {
    // cuDNN opens NVRTC and closes it again. Once we have opened it, it stays, and what it leaves
    // behind keeps the name by which it is suppressed.
    try {
      const Compiler compiler(this_process_places(), 13000);
    } catch (const Error&) {
    }
    try {
      api_ = std::make_unique<cudnn::Api>(this_process_places());
      target_ = std::make_unique<cudnn::Target>(*api_, kH100);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  std::vector<cudnn::EngineConfig> configs(const std::string& text, Layout layout) {
    const ConvProblem p = parse_problem(text);
    const auto graph = cudnn::make_graph(*target_, p, layout, cudnn::Part::whole);
    return cudnn::engine_configs(*target_, graph, p, cudnn::Part::whole);
  }

  std::unique_ptr<cudnn::Api> api_;
  std::unique_ptr<cudnn::Target> target_;
};

TEST_F(CudnnTest, EveryKindOfProblemIsAGraphThatItTakes) {
  for (const char* text :
       {"1x3x600x800,k64,3x3,p1", "2x64x28x28,k32,1x1,f16,nhwc", "1x32x14x14,k32,3x3,g32,p1,bf16",
        "1x8x9x9,k4,3x2,s2x1,p1x0x2x1,d2x1,g2,bias,relu", "1x8x9x9,k4,3x3,f16,bias,silu",
        "1x8x9x9,k4,3x3,bf16,relu6", "1x8x9x9,k4,3x3,tf32,bias", "5x1x1x1,k1,1x1"}) {
    const ConvProblem p = parse_problem(text);
    const bool epilogue = p.bias || p.activation != Activation::none;
    for (Layout layout : {Layout::nchw, Layout::nhwc}) {
      SCOPED_TRACE(fmt::format("{} as {}", text, to_string(layout)));
      const auto whole = cudnn::make_graph(*target_, p, layout, cudnn::Part::whole);
      EXPECT_EQ(whole.operands.size(), p.bias ? 4u : 3u);
      EXPECT_GT(whole.graph.get_int64(cudnn::Attribute::graph_engine_count), 0);
      if (!epilogue) continue;
      cudnn::make_graph(*target_, p, layout, cudnn::Part::convolution);
      cudnn::make_graph(*target_, p, layout, cudnn::Part::epilogue);
    }
  }
}

TEST_F(CudnnTest, EnginesBecomePlans) {
  for (const char* text : {"1x3x600x800,k64,3x3,p1", "1x64x56x56,k64,3x3,p1,f16",
                           "1x32x112x112,k32,3x3,p1,g32", "1x3x60x80,k64,3x3,p1,bias,relu"}) {
    const auto all = configs(text, Layout::nhwc);
    int plans = 0;
    for (const auto& config : all) {
      try {
        cudnn::make_plan(*target_, config);
        ++plans;
      } catch (const Error&) {
        continue;  // those that compile at run time need the driver
      }
    }
    EXPECT_GE(all.size(), 4u) << text;
    EXPECT_GE(plans, 4) << text;
  }
}

TEST_F(CudnnTest, MatrixUnitsServeF32OnlyWhenAskedFor) {
  const auto ieee = configs("1x64x56x56,k64,3x3,p1", Layout::nhwc);
  const auto tf32 = configs("1x64x56x56,k64,3x3,p1,tf32", Layout::nhwc);
  const auto uses_matrix_units = [](const cudnn::EngineConfig& config) {
    const auto notes =
        config.config.get_descriptor(cudnn::Attribute::config_engine, cudnn::DescriptorType::engine)
            .get_notes();
    return std::count(notes.begin(), notes.end(), cudnn::NumericalNote::tensor_core) > 0;
  };
  EXPECT_TRUE(std::none_of(ieee.begin(), ieee.end(), uses_matrix_units));
  EXPECT_TRUE(std::any_of(tf32.begin(), tf32.end(), uses_matrix_units));
  EXPECT_GT(tf32.size(), ieee.size());
}

TEST_F(CudnnTest, RefusalsCarryItsWords) {
  EXPECT_THAT(error_of([&] {
                cudnn::Descriptor d(*api_, cudnn::DescriptorType::tensor);
                d.finalize();
              }).what(),
              HasSubstr("cudnnBackendFinalize failed: CUDNN_STATUS_BAD_PARAM"));
}

TEST(CudnnPrecision, NotesDecide) {
  using cudnn::NumericalNote;
  const auto precise = [](const char* text, NumericalNote note) {
    return cudnn::is_precise(parse_problem(text), {note});
  };
  EXPECT_FALSE(precise("1x8x9x9,k4,3x3", NumericalNote::tensor_core));
  EXPECT_FALSE(precise("1x8x9x9,k4,3x3", NumericalNote::down_convert_inputs));
  EXPECT_TRUE(precise("1x8x9x9,k4,3x3,tf32", NumericalNote::tensor_core));
  EXPECT_FALSE(precise("1x8x9x9,k4,3x3,tf32", NumericalNote::down_convert_inputs));
  EXPECT_TRUE(precise("1x8x9x9,k4,3x3,f16", NumericalNote::tensor_core));
  EXPECT_FALSE(precise("1x8x9x9,k4,3x3,f16", NumericalNote::reduced_precision_reduction));
  EXPECT_TRUE(cudnn::is_precise(parse_problem("1x8x9x9,k4,3x3"), {}));
}

TEST_F(CudnnTest, TensorsBeyond31BitsAreNotConverted) {
  const auto convert = [&] {
    cudnn::Conversion(*api_, DType::f16, {8, 1 << 14, 1 << 14, 1}, Layout::nchw, Layout::nhwc);
  };
  EXPECT_EQ(error_of(convert).code(), ErrorCode::unsupported);
  cudnn::Conversion(*api_, DType::bf16, {2, 3, 4, 5}, Layout::nchw, Layout::nhwc);
}

TEST(CudnnLayout, Strides) {
  const std::array<std::int64_t, 4> sizes{2, 3, 4, 5};
  EXPECT_THAT(cudnn::strides(sizes, Layout::nchw), ElementsAre(60, 20, 5, 1));
  EXPECT_THAT(cudnn::strides(sizes, Layout::nhwc), ElementsAre(60, 1, 15, 3));
}

// ---- all of it, where there is a GPU ----

class CudaDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      device_ = make_cuda_device();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  double worst(const ConvProblem& p, Implementation implementation) {
    const HostTensors host(p);
    std::vector<std::byte> y(std::size_t(p.y_bytes()));
    conv2d(*device_, p, host.x.data(), host.w.data(), host.bias.data(), y.data(),
           {implementation, {}});
    return host.worst(y, make_plan(*device_, p, {implementation, {}}).row());
  }

  std::unique_ptr<Device> device_;
};

TEST_F(CudaDeviceTest, ConvolvesLikeTheOracle) {
  for (const char* text :
       {"1x3x37x41,k16,3x3,p1", "2x8x16x16,k8,3x3,p1,nhwc,bias,relu", "1x8x15x15,k8,1x1,f16,nhwc",
        "1x16x12x12,k16,3x3,g16,p1,bf16", "1x4x20x20,k6,5x3,s2,p2x1,d2x1,bias,silu",
        "1x8x14x14,k8,3x3,p0x1x2x1", "1x8x14x14,k8,3x3,p1,f16,bias,relu6", "1x8x14x14,k8,3x3,tf32"})
    for (auto implementation :
         {Implementation::basic, Implementation::optimized, Implementation::vendor}) {
      const std::string what = fmt::format("{} {}", to_string(implementation), text);
      try {
        EXPECT_TRUE(worst(parse_problem(text), implementation) <= 1) << what;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::unsupported) << what << ": " << error.what();
        EXPECT_EQ(implementation, Implementation::vendor) << what << ": " << error.what();
      }
    }
}

/// What f32 can hold at its edges, and what it cannot.
struct Extremes {
  const char* name;
  double x, w;       ///< magnitudes: values are 1 to 2 times these
  bool positive;     ///< or of either sign
  bool planted;      ///< infinities of both signs and NaN among x, and one infinity in w
  double allowance;  ///< times the row's bound
};

constexpr Extremes kExtremes[] = {
    {"inputs up to the largest float", 0x1p127, 0x1p-12, false, false, 1},
    {"weights up to the largest float", 0x1p-12, 0x1p127, false, false, 1},
    {"sums beyond the largest float", 0x1p127, 1, true, false, 1},
    {"products beyond the largest float", 0x1p100, 0x1p100, true, false, 1},
    {"infinities and NaN", 1, 1, false, true, 1},
    {"inputs of 1e-33", 1e-33, 1, false, false, 1},
    // Rests of factors below 2^-114 are lost on matrix units: docs/design.md.
    {"inputs of 1e-37", 1e-37, 1, false, false, 100},
};

/// Empty, or how `y` is not what f32 by a direct sum is: the same infinities and NaN, and finite
/// values within the bound.
std::string special_failure(const Extremes& data, const ConvProblem& p, const KernelRow& row,
                            const Reference& reference, const std::vector<float>& y) {
  const double lost = p.C_per_group() * p.R * p.S * 0x1p-149;  // in products that are denormal
  for (std::int64_t i = 0; i < p.y_elements(); ++i) {
    const Expected e = reference.at(i / (p.K * p.P() * p.Q()), i / (p.P() * p.Q()) % p.K,
                                    i / p.Q() % p.P(), i % p.Q());
    const double got = y[std::size_t(i)];
    const double wanted = std::isnan(e.value) ? e.value : double(float(e.value));  // may overflow
    const bool right =
        std::isfinite(wanted)
            ? std::fabs(got - wanted) <= data.allowance * error_bound(row, p, e) + lost
            : (std::isnan(wanted) ? std::isnan(got) : got == wanted);
    if (!right)
      return fmt::format("{} of {}: {}: y[{}] is {}, but should be {}", row.name, to_text(p),
                         data.name, i, got, wanted);
  }
  return {};
}

std::vector<float> magnitudes(std::int64_t count, double scale, bool positive, int seed) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = (i * 7919 + seed) % 1999;
    values.push_back(float((positive || at % 2 == 0 ? scale : -scale) * (1 + double(at) / 2000)));
  }
  return values;
}

TEST_F(CudaDeviceTest, SpecialValuesComeOutAsOfADirectSum) {
  int rows = 0;
  for (const char* text : {"2x24x9x11,k40,3x3", "1x40x7x8,k70,1x1", "1x3x20x21,k40,3x3",
                           "1x260x4x4,k36,3x3", "1x6x12x12,k6,3x3,g6"}) {
    const ConvProblem p = parse_problem(text);
    for (const Extremes& data : kExtremes) {
      auto x = magnitudes(p.x_elements(), data.x, data.positive, 1);
      auto w = magnitudes(p.w_elements(), data.w, data.positive, 2);
      if (data.planted) {
        x[5] = HUGE_VALF, x[x.size() / 2] = NAN, x.back() = -HUGE_VALF;
        w[w.size() / 3] = HUGE_VALF;
      }
      const Reference reference(p, x.data(), w.data(), nullptr);
      for (const KernelRow& row : device_->registry().rows()) {
        if (!row.direct_sum || row.implementation == Implementation::vendor ||
            !row.refusal(p).empty())
          continue;
        std::vector<float> y(std::size_t(p.y_elements()), -1);
        conv2d(*device_, p, x.data(), w.data(), nullptr, y.data(), {row.implementation, row.name});
        EXPECT_EQ(special_failure(data, p, row, reference, y), "");
        rows += row.name == "matrix_f32";
      }
    }
  }
  EXPECT_EQ(rows, 4 * int(std::size(kExtremes)));  // of the problems, those of many outputs
}

TEST_F(CudaDeviceTest, SeveralThreadsShareAPlan) {
  const ConvProblem p = parse_problem("1x8x32x32,k8,3x3,p1");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] { EXPECT_LE(worst(p, Implementation::optimized), 1); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace metalconv::cuda
