// SPDX-License-Identifier: Apache-2.0
// MPSGraph's rows beyond their results (metal_standin_test.cpp): what happens when MPSGraph commits
// on its own, fails, or is asked from several sides. On the stand-in, not yet on Apple's MPSGraph.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "bench/subject.h"
#include "bench/verify.h"
#include "core/registry.h"
#include "metal/bounded_cache.h"
#include "metal/runtime.h"
#include "metal_standin/control.h"
#include "metalconv/error.h"
#include "metalconv/metal.h"

namespace metalconv {
namespace {

using standin::machine;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

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

class MetalVendor : public testing::Test {
 protected:
  MetalVendor() { machine() = {}; }
  ~MetalVendor() override {
    queue.reset();
    device.reset();
    EXPECT_EQ(standin::live_objects(), "");
    EXPECT_THAT(standin::take_misuses(), IsEmpty());
    standin::forget_dead();
  }

  Plan plan(const ConvProblem& p) const {
    return make_plan(*device, p, {Implementation::vendor, {}});
  }
  std::string refused(const std::string& text) const {
    return device->registry()
        .find(Implementation::vendor, "mpsgraph")
        ->refusal(parse_problem(text));
  }

  const ConvProblem problem = parse_problem("1x4x9x8,k6,3x3,p1,bias,relu");
  std::unique_ptr<Device> device = make_metal_device();
  std::unique_ptr<Queue> queue = device->make_queue();
};

TEST_F(MetalVendor, StaysAwayWhenNotWanted) {
  const auto without = make_metal_device({.vendor = false});
  for (const KernelRow& row : without->registry().rows())
    EXPECT_NE(row.implementation, Implementation::vendor);
}

// MPSGraph may commit the command buffer it was given and go on with a new one, which the queue
// must then wait for, count the time of, and look at for errors.
TEST_F(MetalVendor, MayCommitOnItsOwn) {
  machine().graph_commits = true;
  bench::Operands operands(*device, problem);
  bench::Checks checks(problem);
  bench::Subject subject(*device, *queue, plan(problem), operands);
  EXPECT_EQ(bench::verify(subject, checks).failure, "");
  const int before = standin::commits();
  EXPECT_GT(queue->time([&] {
    subject.execute();
    subject.execute();
  }),
            0);
  EXPECT_EQ(standin::commits() - before, 3);
  machine().next_commit_fails_with = "Ignored (for causing prior GPU hang)";  // MPSGraph's own
  EXPECT_THAT(refusal(ErrorCode::device,
                      [&] {
                        subject.execute();
                        queue->wait();
                      }),
              HasSubstr("prior GPU hang"));
  EXPECT_EQ(bench::verify(subject, checks).failure, "");
}

TEST_F(MetalVendor, TranslatesExceptions) {
  machine().graph_raises = "this device has no such layout";
  EXPECT_THAT(refusal(ErrorCode::device, [&] { plan(problem); }),
              AllOf(HasSubstr("this device has no such layout"), HasSubstr(to_text(problem))));
  plan(problem);
}

TEST_F(MetalVendor, RefusesInWords) {
  EXPECT_EQ(refused("1x3x9x9,k4,3x3"), "");
  EXPECT_THAT(refused("1x3x9x9,k4,3x3,f16"), HasSubstr("dtype is f16"));
  EXPECT_THAT(refused("65536x1x1x1,k1,1x1"), HasSubstr("batch of 65535"));
  EXPECT_THAT(refused("1x1x1x1,k65537,1x1"), HasSubstr("65536 channels"));
  EXPECT_THAT(refused("1x1x65536x65536,k1,1x1"), HasSubstr("2147483647 elements"));
  machine().macos = 14;
  EXPECT_THAT(refused("1x3x9x9,k4,3x3"), HasSubstr("macOS 15"));
}

TEST_F(MetalVendor, PlansAnEmptyBatch) {
  const ConvProblem empty = parse_problem("0x4x9x8,k6,3x3");
  const std::vector<float> w(std::size_t(empty.w_elements()), 1);
  conv2d(*device, empty, nullptr, w.data(), nullptr, nullptr, {Implementation::vendor, {}});
}

TEST_F(MetalVendor, ExecutesFromTwoThreadsAtOnce) {
  bench::Operands operands(*device, problem);
  bench::Checks checks(problem);
  bench::Subject subject(*device, *queue, plan(problem), operands);
  ASSERT_EQ(bench::verify(subject, checks).failure, "");  // leaves its inputs in the operands
  const auto wanted = operands.y.download();
  const auto repeat = [&](std::vector<std::byte>* got) {
    const auto own_queue = device->make_queue();
    const auto y = device->allocate(wanted.size());
    for (int i = 0; i < 20; ++i)
      subject.plan().execute(*own_queue, x_view(problem, operands.x.memory()),
                             subject.packed().memory(), bias_view(problem, operands.bias.memory()),
                             y_view(problem, y->memory()), {});
    own_queue->wait();
    y->download(got->data(), got->size());
  };
  std::vector<std::byte> one(wanted.size()), other(wanted.size());
  std::thread beside(repeat, &other);
  repeat(&one);
  beside.join();
  EXPECT_EQ(one, wanted);
  EXPECT_EQ(other, wanted);
}

TEST(MetalBoundedCache, KeepsWhatWasAskedForLast) {
  metal::BoundedCache<int> cache(2);
  int made = 0;
  const auto get = [&](const char* key) {
    return *cache.get(key, [&] { return std::make_shared<const int>(++made); });
  };
  EXPECT_EQ(get("a"), 1);
  EXPECT_EQ(get("b"), 2);
  EXPECT_EQ(get("a"), 1);
  EXPECT_EQ(get("c"), 3);  // in the place of b
  EXPECT_EQ(get("a"), 1);
  EXPECT_EQ(get("b"), 4);
  EXPECT_EQ(cache.size(), 2u);
}

}  // namespace
}  // namespace metalconv
