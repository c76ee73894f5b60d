// SPDX-License-Identifier: Apache-2.0
// What a GPU does not show: that the Metal host code loses no object and releases none twice, sees
// every failure, and asks the compiler for what it should. On the stand-in for Apple's frameworks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu/device.h"
#include "metal/runtime.h"
#include "metal_standin/control.h"
#include "metal_standin/foundation.h"
#include "metalconv/error.h"
#include "metalconv/metal.h"

namespace metalconv::standin {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const gpu::Source kFill{"fill.metal",
                        "#include <metal_stdlib>\nusing namespace metal;\n"
                        "kernel void fill(device uint* y [[buffer(0)]],\n"
                        "                 constant uint& value [[buffer(1)]],\n"
                        "                 uint i [[thread_position_in_grid]]) { y[i] = value; }\n"};

template <class Action>
std::string refusal(ErrorCode code, const Action& action) {
  try {
    action();
  } catch (const metalconv::Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return {};
}

class MetalStandin : public testing::Test {
 protected:
  void SetUp() override { machine() = {}; }
  void TearDown() override {
    EXPECT_EQ(live_objects(), "");
    EXPECT_THAT(take_misuses(), IsEmpty());
    forget_dead();
  }

  /// Writes `count` numbers; an overrun of the 16 that there is room for is the emulator's to find.
  static void fill(gpu::Runtime& gpu, Queue& queue, std::uint32_t count) {
    const auto y = gpu.allocate(16 * sizeof(std::uint32_t));
    const auto kernel = gpu.compile(kFill, "fill", {});
    const std::uint32_t value = 5;
    const gpu::Argument arguments[] = {y->memory(), gpu::constants(value)};
    gpu.launch(queue, *kernel, {{count}, {1}}, arguments);
    queue.wait();
  }
};

// -------------------------------------------------------------------------- the stand-in sees
// faults

extern "C" void objc_msgSend();

void send(Object* object, Selector selector) {
  reinterpret_cast<void (*)(Object*, Selector)> (&objc_msgSend)(object, selector);
}

TEST_F(MetalStandin, SeesALeak) {
  auto* kept = new String("kept");
  EXPECT_EQ(live_objects(), "1 NSString");
  send(kept, "release");
  EXPECT_EQ(live_objects(), "");
}

TEST_F(MetalStandin, SeesADoubleRelease) {
  auto* object = new String("once");
  send(object, "release");
  send(object, "release");
  send(object, "UTF8String");
  EXPECT_THAT(take_misuses(),
              ElementsAre("release sent to a dead NSString", "UTF8String sent to a dead NSString"));
}

TEST_F(MetalStandin, SeesAnAutoreleaseWithoutAPool) {
  auto* object = new String("adrift");
  send(object, "autorelease");
  EXPECT_THAT(take_misuses(), ElementsAre(HasSubstr("without a pool")));
  send(object, "release");
}

TEST_F(MetalStandin, DiesOfASelectorThatMacosDoesNotHaveYet) {
  auto* object = new String("");
  EXPECT_DEATH(send(object, "setMathMode:"), "unrecognized selector: -\\[NSString setMathMode:\\]");
  send(object, "release");
}

// ------------------------------------------------------------------------------------- the host
// code

TEST_F(MetalStandin, LeavesNothingBehind) {
  const auto gpu = metal::make_runtime();
  gpu->info();
  const auto queue = gpu->make_queue(), other = gpu->make_queue();
  fill(*gpu, *queue, 16);
  EXPECT_GT(other->time([&] { fill(*gpu, *queue, 8); }) + 1, 0);
}

TEST_F(MetalStandin, LeavesNothingBehindInFlight) {
  const auto gpu = metal::make_runtime();
  const auto queue = gpu->make_queue();
  const auto kernel = gpu->compile(kFill, "fill", {});
  const std::uint32_t value = 1;
  for (int i = 0; i < 5; ++i) {  // buffers go before the work has run
    const auto y = gpu->allocate(64);
    const gpu::Argument arguments[] = {y->memory(), gpu::constants(value)};
    gpu->launch(*queue, *kernel, {{16}, {1}}, arguments);
  }
}

TEST_F(MetalStandin, CommitsEachLaunchButTimesMany) {
  const auto gpu = metal::make_runtime();
  const auto queue = gpu->make_queue();
  const auto kernel = gpu->compile(kFill, "fill", {});
  const auto y = gpu->allocate(64);
  const std::uint32_t value = 1;
  const gpu::Argument arguments[] = {y->memory(), gpu::constants(value)};
  const auto launch_three = [&] {
    for (int i = 0; i < 3; ++i) gpu->launch(*queue, *kernel, {{16}, {1}}, arguments);
  };
  int before = commits();
  launch_three();
  EXPECT_EQ(commits() - before, 3);
  queue->wait();
  before = commits();
  EXPECT_GT(queue->time(launch_three), 0);
  EXPECT_EQ(commits() - before, 1);
}

TEST_F(MetalStandin, AsksForSafeMath) {
  for (const int macos : {13, 14, 15}) {
    machine().macos = macos;
    const auto gpu = metal::make_runtime();
    EXPECT_EQ(gpu->limits().bfloat, macos >= 14);
    gpu->compile(kFill, "fill", {{"A", "1"}, {"B", "float"}});
    const LibraryCall& call = last_library_call();
    EXPECT_EQ(call.source, kFill.text);
    EXPECT_THAT(call.macros, ElementsAre(testing::Pair("A", "1"), testing::Pair("B", "float")));
    EXPECT_TRUE(call.safe_math) << macos;
    EXPECT_TRUE(call.precise_functions) << macos;
    EXPECT_EQ(call.language_version, (3u << 16) + (macos >= 14 ? 1 : 0));
  }
}

TEST_F(MetalStandin, CountsCores) {
  EXPECT_EQ(metal::make_runtime()->info().compute_units, 10);
  EXPECT_EQ(metal::make_runtime()->limits().compute_units, 10u);
  machine().gpu_cores = 0;
  EXPECT_EQ(metal::make_runtime()->info().compute_units, 0);
  EXPECT_EQ(metal::make_runtime()->limits().compute_units, 1u);
}

TEST_F(MetalStandin, SaysWhatItsEstimatesAreBy) {
  const auto gpu = metal::make_runtime();
  EXPECT_THAT(gpu->info().facts.at("estimates"), HasSubstr("nominal GPU"));
  EXPECT_EQ(gpu->limits().rates.flops, gpu::Rates{}.flops);
}

TEST_F(MetalStandin, ReportsAFailedCommandBuffer) {
  const auto gpu = metal::make_runtime();
  const auto queue = gpu->make_queue();
  machine().next_commit_fails_with = "Insufficient Memory";
  EXPECT_THAT(refusal(ErrorCode::device, [&] { fill(*gpu, *queue, 16); }),
              AllOf(HasSubstr("Insufficient Memory"), HasSubstr("MTLCommandBufferErrorDomain 8")));
  fill(*gpu, *queue, 16);  // reported once
}

TEST_F(MetalStandin, ReportsAFailureBeforeTheLastCommandBuffer) {
  const auto gpu = metal::make_runtime();
  const auto queue = gpu->make_queue();
  const auto kernel = gpu->compile(kFill, "fill", {});
  const auto y = gpu->allocate(64);
  const std::uint32_t value = 1;
  const gpu::Argument arguments[] = {y->memory(), gpu::constants(value)};
  machine().next_commit_fails_with = "Caused GPU Hang Error";
  for (int i = 0; i < 3; ++i) gpu->launch(*queue, *kernel, {{16}, {1}}, arguments);
  EXPECT_THAT(refusal(ErrorCode::device, [&] { queue->time([] {}); }), HasSubstr("GPU Hang"));
  machine().next_commit_fails_with = "Caused GPU Timeout Error";
  EXPECT_THAT(refusal(ErrorCode::device,
                      [&] {
                        queue->time([&] { gpu->launch(*queue, *kernel, {{16}, {1}}, arguments); });
                      }),
              HasSubstr("GPU Timeout"));
}

TEST_F(MetalStandin, ReportsAKernelThatWritesPastItsBuffer) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer finds it first, and ends the program";
#endif
  const auto gpu = metal::make_runtime();
  const auto queue = gpu->make_queue();
  EXPECT_THAT(refusal(ErrorCode::device, [&] { fill(*gpu, *queue, 18); }),
              AllOf(HasSubstr("kernel 'fill'"), HasSubstr("buffer(0)")));
}

TEST_F(MetalStandin, ReportsWhatCannotBeHad) {
  machine().longest_buffer = 1000;
  {
    const auto gpu = metal::make_runtime();
    EXPECT_THAT(refusal(ErrorCode::too_large, [&] { gpu->allocate(1001); }),
                AllOf(HasSubstr("1001 bytes"), HasSubstr("1000")));
    machine().out_of_memory = true;
    EXPECT_NE(refusal(ErrorCode::too_large, [&] { gpu->allocate(1000); }), "");
  }
  machine().has_gpu = false;
  EXPECT_THAT(refusal(ErrorCode::device, [] { metal::make_runtime(); }), HasSubstr("no GPU"));
}

TEST_F(MetalStandin, RefusesMoreThreadgroupMemoryThanThereIs) {
  machine().threadgroup_bytes = 8192;
  const auto gpu = metal::make_runtime();
  const gpu::Source source{"block.metal",
                           "#include <metal_stdlib>\nusing namespace metal;\n"
                           "kernel void block(device float* x [[buffer(0)]]) {\n"
                           "  threadgroup float t[4096];\n  t[0] = x[0];\n  x[1] = t[0];\n}\n"};
  EXPECT_THAT(refusal(ErrorCode::device, [&] { gpu->compile(source, "block", {}); }),
              AllOf(HasSubstr("16384 bytes of threadgroup memory"), HasSubstr("8192")));
}

TEST_F(MetalStandin, CompilesTheTextsInKernelsAsTheyAre) {
  const auto device = make_metal_device({.vendor = false});
  make_plan(*device, parse_problem("1x3x16x16,k8,3x3,p1"), {Implementation::basic, {}});
  const LibraryCall& call = last_library_call();
  EXPECT_TRUE(call.source == gpu::kernel_source("basic.metal").text ||
              call.source == gpu::kernel_source("pack.metal").text);
}

}  // namespace
}  // namespace metalconv::standin
