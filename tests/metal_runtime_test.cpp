// SPDX-License-Identifier: Apache-2.0
// The Metal runtime: on a Mac on its GPU, elsewhere on the stand-in for Apple's frameworks.
#include "metal/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "metalconv/error.h"

// Of the Objective-C runtime: what a caller who has objects of its own does with them.
extern "C" {
void* sel_registerName(const char* name);
void objc_msgSend();
}

namespace metalconv::metal {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

gpu::Source source(const std::string& text) {
  return {"test.metal",
          "#line 1 \"test.metal\"\n#include <metal_stdlib>\nusing namespace metal;\n" + text};
}

/// y[i] = FACTOR * x[i] + shift for i < count.
const gpu::Source kScale = source(
    "kernel void scale(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],\n"
    "                  constant float& shift [[buffer(2)]], constant uint& count [[buffer(3)]],\n"
    "                  uint i [[thread_position_in_grid]]) {\n"
    "  if (i < count) y[i] = FACTOR * x[i] + shift;\n"
    "}\n");

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

class MetalRuntime : public testing::Test {
 protected:
  std::unique_ptr<const gpu::Kernel> scale(const std::string& factor = "2.0f") const {
    return gpu->compile(kScale, "scale", {{"FACTOR", factor}});
  }

  std::unique_ptr<Buffer> buffer(const std::vector<float>& values) const {
    auto made = gpu->allocate(values.size() * sizeof(float));
    made->upload(values.data(), values.size() * sizeof(float));
    return made;
  }

  static std::vector<float> values(const Buffer& buffer) {
    std::vector<float> host(buffer.memory().bytes / sizeof(float));
    buffer.download(host.data(), buffer.memory().bytes);
    return host;
  }

  void launch_scale(Queue& to, const gpu::Kernel& kernel, Memory x, Memory y, float shift,
                    std::uint32_t count) const {
    const gpu::Argument arguments[] = {x, y, gpu::constants(shift), gpu::constants(count)};
    gpu->launch(to, kernel, {{(count + 63) / 64}, {64}}, arguments);
  }

  std::unique_ptr<gpu::Runtime> gpu = make_runtime();
  std::unique_ptr<Queue> queue = gpu->make_queue();
};

TEST_F(MetalRuntime, SaysWhatItRunsOn) {
  const DeviceInfo info = gpu->info();
  EXPECT_EQ(info.name, "metal");
  EXPECT_NE(info.model, "");
  EXPECT_GT(info.memory_bytes, 0u);
  EXPECT_TRUE(info.timed);
  EXPECT_THAT(info.facts.at("OS"), HasSubstr("macOS"));
  EXPECT_THAT(info.facts.at("GPU family"), HasSubstr("Metal"));
  EXPECT_THAT(info.facts.at("kernels"), HasSubstr("safe math"));
  EXPECT_GE(gpu->limits().threads_per_group, 512u);
  EXPECT_GE(gpu->limits().threadgroup_bytes, 16384u);
}

TEST_F(MetalRuntime, CopiesToAndFromBuffers) {
  const auto b = buffer({1, 2, 3, 4});
  const float five = 5;
  b->upload(&five, sizeof five, 8);
  EXPECT_EQ(values(*b), (std::vector<float>{1, 2, 5, 4}));
  float two = 0;
  b->download(&two, sizeof two, 4);
  EXPECT_EQ(two, 2);
  EXPECT_THAT(refusal(ErrorCode::invalid_argument, [&] { b->upload(&five, 4, 13); }),
              AllOf(HasSubstr("4 bytes at offset 13"), HasSubstr("16 bytes")));
  EXPECT_NE(refusal(ErrorCode::invalid_argument, [&] { b->download(&two, 4, SIZE_MAX); }), "");
}

TEST_F(MetalRuntime, HasBuffersOfNoBytesAndNoneTooLong) {
  EXPECT_EQ(gpu->allocate(0)->memory().bytes, 0u);
  EXPECT_THAT(refusal(ErrorCode::too_large, [&] { gpu->allocate(std::size_t(1) << 60); }),
              HasSubstr("1152921504606846976 bytes"));
}

TEST_F(MetalRuntime, SpecialisesKernelsByMacros) {
  for (const float factor : {2.0f, -3.0f}) {
    const auto x = buffer({1, 2, 3}), y = buffer({0, 0, 0});
    launch_scale(*queue, *scale(std::to_string(factor) + "f"), x->memory(), y->memory(), 0.5f, 3);
    queue->wait();
    EXPECT_EQ(values(*y),
              (std::vector<float>{factor + 0.5f, 2 * factor + 0.5f, 3 * factor + 0.5f}));
  }
}

TEST_F(MetalRuntime, ReportsWhatTheCompilerSays) {
  const gpu::Source wrong =
      source("kernel void k(device float* x [[buffer(0)]]) {\n  x[0] = up;\n}");
  EXPECT_THAT(refusal(ErrorCode::device, [&] { gpu->compile(wrong, "k", {}); }),
              AllOf(HasSubstr("test.metal:4"), HasSubstr("up")));
  EXPECT_THAT(refusal(ErrorCode::invalid_argument,
                      [&] {
                        gpu->compile(kScale, "other", {{"FACTOR", "1"}});
                      }),
              HasSubstr("test.metal has no kernel 'other'"));
}

TEST_F(MetalRuntime, BindsMemoryAtItsOffset) {
  const auto x = buffer({1, 2, 3, 4, 5, 6}), y = buffer({0, 0, 0, 0});
  Memory from = x->memory(), to = y->memory();
  from.offset = 8, from.bytes = 8;
  to.offset = 4, to.bytes = 8;
  launch_scale(*queue, *scale(), from, to, 0, 2);
  queue->wait();
  EXPECT_EQ(values(*y), (std::vector<float>{0, 6, 8, 0}));
  from.bytes = 20;
  EXPECT_THAT(
      refusal(ErrorCode::invalid_argument, [&] { launch_scale(*queue, *scale(), from, to, 0, 2); }),
      HasSubstr("argument 0 of kernel 'scale' is 20 bytes at offset 8"));
}

TEST_F(MetalRuntime, BindsSomethingWhereThereIsNoMemory) {
  const gpu::Source optional = source(
      "kernel void f(device const float* bias [[buffer(0)]], device float* y [[buffer(1)]],\n"
      "              constant uint& has_bias [[buffer(2)]]) { y[0] = has_bias ? bias[0] : 7; }");
  const auto y = buffer({0});
  const std::uint32_t no = 0;
  const gpu::Argument arguments[] = {Memory(), y->memory(), gpu::constants(no)};
  gpu->launch(*queue, *gpu->compile(optional, "f", {}), {{1}, {1}}, arguments);
  queue->wait();
  EXPECT_EQ(values(*y), std::vector<float>{7});
}

TEST_F(MetalRuntime, RefusesShapesOutsideTheLimits) {
  const auto kernel = scale();
  const auto x = buffer({1});
  const std::uint32_t n = 1;
  const gpu::Argument arguments[] = {x->memory(), x->memory(), gpu::constants(1.0f),
                                     gpu::constants(n)};
  const auto launch = [&](const gpu::LaunchShape& shape) {
    return refusal(ErrorCode::invalid_argument,
                   [&] { gpu->launch(*queue, *kernel, shape, arguments); });
  };
  EXPECT_THAT(launch({{1}, {kernel->max_threads() + 1}}), HasSubstr("a threadgroup of kernel"));
  EXPECT_THAT(launch({{1}, {1, 0, 1}}), HasSubstr("1 x 0 x 1"));
  EXPECT_THAT(launch({{UINT32_MAX}, {2}}), HasSubstr("32 bits"));
  EXPECT_EQ(launch({{0}, {1}}), "");  // nothing to do
  const std::vector<std::byte> long_constants(gpu->limits().constant_bytes + 1);
  const gpu::Argument too_long[] = {gpu::Bytes(long_constants)};
  EXPECT_THAT(refusal(ErrorCode::invalid_argument,
                      [&] {
                        gpu->launch(*queue, *kernel, {{1}, {1}}, too_long);
                      }),
              HasSubstr("4097 bytes of constants"));
  queue->wait();
}

TEST_F(MetalRuntime, RunsAQueueInOrder) {
  const auto kernel = scale();
  const auto a = buffer({1}), b = buffer({0});
  const auto there_and_back = [&] {
    launch_scale(*queue, *kernel, a->memory(), b->memory(), 0, 1);
    launch_scale(*queue, *kernel, b->memory(), a->memory(), 1, 1);
  };
  for (int i = 0; i < 3; ++i) there_and_back();  // a = 4 a + 1
  queue->wait();
  EXPECT_EQ(values(*a), std::vector<float>{85});
  EXPECT_GT(queue->time([&] {
    for (int i = 0; i < 3; ++i) there_and_back();
  }),
            0);
  EXPECT_EQ(values(*a), std::vector<float>{5461});
  EXPECT_EQ(queue->time([] {}), 0);
}

void* send(void* object, const char* message) {
  return reinterpret_cast<void* (*)(void*, void*)>(objc_msgSend)(object, sel_registerName(message));
}

TEST_F(MetalRuntime, RunsOnTheCallersQueueAndBuffers) {
  const auto theirs = make_runtime();  // another owner of objects
  void* command_queue = send(device_object(*theirs), "newCommandQueue");
  ASSERT_NE(command_queue, nullptr);
  auto x = theirs->allocate(16), y = theirs->allocate(16);
  const float from[] = {1, 2, 3, 4}, zeros[4] = {};
  x->upload(from, 16);
  y->upload(zeros, 16);
  {
    const auto on = gpu->make_queue_on(command_queue);
    launch_scale(*on, *scale(), wrap(x->memory().handle, 8, 4), wrap(y->memory().handle, 8, 8), 1,
                 2);
    on->wait();
  }
  EXPECT_EQ(values(*y), (std::vector<float>{0, 0, 5, 7}));
  EXPECT_NE(refusal(ErrorCode::invalid_argument, [&] { gpu->make_queue_on(nullptr); }), "");
  send(command_queue, "release");  // counted: still the caller's
}

TEST_F(MetalRuntime, CarriesOnAfterAnExceptionInTime) {
  const auto kernel = scale();
  const auto x = buffer({1}), y = buffer({0});
  const auto enqueue_and_throw = [&] {
    launch_scale(*queue, *kernel, x->memory(), y->memory(), 0, 1);
    throw std::runtime_error("the caller's own");
  };
  EXPECT_THROW(queue->time(enqueue_and_throw), std::runtime_error);
  launch_scale(*queue, *kernel, x->memory(), y->memory(), 3, 1);
  queue->wait();
  EXPECT_EQ(values(*y), std::vector<float>{5});
}

TEST_F(MetalRuntime, SynchronisesThreadgroups) {
  const gpu::Source reverse = source(
      "kernel void reverse(device float* x [[buffer(0)]],\n"
      "                    uint t [[thread_index_in_threadgroup]],\n"
      "                    uint g [[threadgroup_position_in_grid]]) {\n"
      "  threadgroup float block[128];\n"
      "  block[t] = x[g * 128 + t];\n"
      "  threadgroup_barrier(mem_flags::mem_threadgroup);\n"
      "  x[g * 128 + t] = block[127 - t];\n"
      "}\n");
  std::vector<float> host(256), wanted(256);
  std::iota(host.begin(), host.end(), 0.0f);
  for (int i = 0; i < 256; ++i) wanted[i] = float(i / 128 * 128 + 127 - i % 128);
  const auto x = buffer(host);
  const gpu::Argument arguments[] = {x->memory()};
  gpu->launch(*queue, *gpu->compile(reverse, "reverse", {}), {{2}, {128}}, arguments);
  queue->wait();
  EXPECT_EQ(values(*x), wanted);
}

// Fast math, Metal's default, may take an infinity for impossible.
TEST_F(MetalRuntime, KeepsInfinitiesAndNans) {
  const auto x = buffer({kInfinity, 1}), y = buffer({0, 0});
  launch_scale(*queue, *scale("0.0f"), x->memory(), y->memory(), 0, 2);
  queue->wait();
  EXPECT_TRUE(std::isnan(values(*y)[0]));
  EXPECT_EQ(values(*y)[1], 0);
}

TEST_F(MetalRuntime, KnowsBfloat) {
  if (!gpu->limits().bfloat) GTEST_SKIP() << "this macOS has no bfloat";
  const gpu::Source round =
      source("kernel void f(device float* x [[buffer(0)]]) { x[0] = float(bfloat(x[0])); }");
  const auto x = buffer({1.01f});
  const gpu::Argument arguments[] = {x->memory()};
  gpu->launch(*queue, *gpu->compile(round, "f", {}), {{1}, {1}}, arguments);
  queue->wait();
  EXPECT_EQ(values(*x), std::vector<float>{1.0078125f});
}

TEST_F(MetalRuntime, ServesSeveralThreads) {
  const auto kernel = scale();
  const auto work = [&](float shift, std::vector<float>* got) {
    const auto own = gpu->make_queue();
    const auto x = buffer(std::vector<float>(200, 1)), y = buffer(std::vector<float>(200));
    for (int i = 0; i < 100; ++i) launch_scale(*own, *kernel, x->memory(), y->memory(), shift, 200);
    own->wait();
    *got = values(*y);
  };
  std::vector<float> one, other;
  std::thread beside(work, 10.0f, &other);
  work(20, &one);
  beside.join();
  EXPECT_THAT(one, Each(22));
  EXPECT_THAT(other, Each(12));
}

}  // namespace
}  // namespace metalconv::metal
