// SPDX-License-Identifier: Apache-2.0
// Plans, devices and the planner used by several threads at once. Small, for ThreadSanitizer.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bench/data.h"
#include "bench/subject.h"
#include "conv_cases.h"
#include "gpu/once.h"
#include "metalconv/plan.h"

namespace metalconv::test {
namespace {

constexpr int kCallers = 4, kRounds = kSanitized ? 5 : 30;

/// Every body at the same time, each in a thread of its own.
void together(const std::vector<std::function<void()>>& bodies) {
  std::barrier start{std::ptrdiff_t(bodies.size())};
  std::vector<std::thread> threads;
  for (const auto& body : bodies)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      body();
    });
  for (std::thread& t : threads) t.join();
}

/// Data with exact sums and what they are.
class Expected {
 public:
  explicit Expected(const ConvProblem& problem)
      : check_(bench::make_check(problem, bench::DataMode::exact)) {}
  const bench::Data& data() const { return check_.data; }
  bool matches(const void* y) const {
    const auto* values = static_cast<const float*>(y);
    for (const bench::Point& point : check_.points)
      if (double(values[point.offset]) != point.expected.value) return false;
    return true;
  }

 private:
  bench::Check check_;
};

/// One caller's memory for a plan that others use, too.
class Caller {
 public:
  Caller(Device& device, const Plan& plan, const Memory& packed, const Expected& expected)
      : plan_(plan),
        packed_(packed),
        expected_(expected),
        queue_(device.make_queue()),
        operands_(device, plan.problem()),
        workspace_(device, plan.workspace_bytes()) {
    operands_.x.upload(expected.data().x);
    operands_.bias.upload(expected.data().bias);
  }

  /// Executions that gave another result, or wrote beside the workspace.
  int run(int rounds) {
    const ConvProblem& p = plan_.problem();
    int wrong = 0;
    for (int i = 0; i < rounds; ++i) {
      operands_.y.poison();
      plan_.execute(*queue_, x_view(p, operands_.x.memory()), packed_,
                    bias_view(p, operands_.bias.memory()), y_view(p, operands_.y.memory()),
                    workspace_.memory());
      queue_->wait();
      wrong += expected_.matches(operands_.y.memory().address()) && workspace_.intact() ? 0 : 1;
    }
    return wrong;
  }

 private:
  const Plan& plan_;
  Memory packed_;
  const Expected& expected_;
  std::unique_ptr<Queue> queue_;
  bench::Operands operands_;
  bench::Guarded workspace_;
};

std::unique_ptr<Buffer> pack(Device& device, const Plan& plan, const Expected& expected) {
  const auto w = device.allocate(expected.data().w.size());
  w->upload(expected.data().w.data(), expected.data().w.size());
  auto packed = device.allocate(plan.packed_bytes());
  const auto queue = device.make_queue();
  plan.pack(*queue, w_view(plan.problem(), w->memory()), packed->memory());
  queue->wait();
  return packed;
}

/// For each of our kernels and layouts one small problem that it takes.
struct Job {
  const KernelRow* row;
  ConvProblem problem;
};
std::vector<Job> jobs(const Device& device) {
  std::vector<Job> found;
  for (const KernelRow* row : our_rows(device))
    for (const Layout layout : row->layouts)
      for (const ConvProblem& p : problems_for(*row, layout, 1)) found.push_back({row, p});
  return found;
}

Device& device() { return cpu_device(cpu_isas().front(), 3); }

/// Also on devices with fewer threads than callers, who then wait for each other.
TEST(Threads, ShareAPlan) {
  for (const int threads : {1, 2, 3}) {
    Device& shared = cpu_device(cpu_isas().front(), threads);
    for (const Job& job : jobs(shared)) {
      SCOPED_TRACE(fmt::format("{} threads, {}, {}", threads, job.row->name, to_text(job.problem)));
      const Expected expected(job.problem);
      const Plan plan = make_plan(shared, job.problem, {job.row->implementation, job.row->name});
      const auto packed = pack(shared, plan, expected);
      std::atomic<int> wrong{0};
      const std::vector<std::function<void()>> bodies(kCallers, [&] {
        wrong += Caller(shared, plan, packed->memory(), expected).run(kRounds);
      });
      together(bodies);
      EXPECT_EQ(wrong, 0);
    }
  }
}

/// Different kernels on one device, side by side.
TEST(Threads, ShareADevice) {
  std::atomic<int> wrong{0};
  std::vector<std::function<void()>> bodies;
  for (const Job& job : jobs(device()))
    bodies.emplace_back([&, job] {
      const Expected expected(job.problem);
      const Plan plan = make_plan(device(), job.problem, {job.row->implementation, job.row->name});
      const auto packed = pack(device(), plan, expected);
      wrong += Caller(device(), plan, packed->memory(), expected).run(kRounds);
    });
  together(bodies);
  EXPECT_EQ(wrong, 0);
}

/// Several devices of different instruction sets and thread counts.
TEST(Threads, HaveDevicesOfTheirOwn) {
  const ConvProblem p = parse_problem("2x3x9x21,k8,3x3,p1,bias,relu");
  const Expected expected(p);
  std::atomic<int> wrong{0};
  std::vector<std::function<void()>> bodies;
  int threads = 0;
  for (const std::string& isa : cpu_isas())
    bodies.emplace_back([&, isa, count = 1 + threads++ % 3] {
      const auto own = make_cpu_device({count, isa, false});
      const Plan plan = make_plan(*own, p);
      const auto packed = pack(*own, plan, expected);
      wrong += Caller(*own, plan, packed->memory(), expected).run(kRounds);
    });
  together(bodies);
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, PlanAndExplainAtOnce) {
  const auto all = jobs(device());
  const auto once = [&] {
    std::string text;
    for (const Job& job : all) {
      for (const Candidate& c : explain(device(), job.problem))
        text += c.row->name + c.refusal + (c.chosen ? "*" : "") + std::to_string(c.cost);
      text += make_plan(device(), job.problem).detail();
    }
    return text;
  };
  const std::string expected = once();
  std::atomic<int> other{0};
  const std::vector<std::function<void()>> bodies(kCallers, [&] {
    for (int i = 0; i < 3; ++i) other += once() == expected ? 0 : 1;
  });
  together(bodies);
  EXPECT_EQ(other, 0);
}

TEST(Threads, PackAtOnce) {
  const ConvProblem p = parse_problem("1x5x6x7,k9,3x3,p1");
  const Expected expected(p);
  const Plan plan = make_plan(device(), p);
  std::atomic<int> wrong{0};
  const std::vector<std::function<void()>> bodies(kCallers, [&] {
    const auto packed = pack(device(), plan, expected);
    wrong += Caller(device(), plan, packed->memory(), expected).run(1);
  });
  together(bodies);
  EXPECT_EQ(wrong, 0);
}

/// A caller that is itself a oneTBB task in an arena of its own.
TEST(Threads, ComeFromACallersOwnArena) {
  const ConvProblem p = parse_problem("1x4x12x33,k8,3x3,p1");
  const Expected expected(p);
  const Plan plan = make_plan(device(), p);
  const auto packed = pack(device(), plan, expected);
  std::atomic<int> wrong{0};
  tbb::task_arena arena(2);
  arena.execute([&] {
    tbb::parallel_for(
        tbb::blocked_range<int>(0, 2 * kCallers, 1),
        [&](const tbb::blocked_range<int>& range) {
          for (int i = range.begin(); i != range.end(); ++i)
            wrong += Caller(device(), plan, packed->memory(), expected).run(kRounds);
        },
        tbb::simple_partitioner());
  });
  EXPECT_EQ(wrong, 0);
}

// ---- compiling

TEST(Once, MakesOneThingOnce) {
  gpu::Once<int, const int> things;
  std::atomic<int> made{0};
  const std::vector<std::function<void()>> bodies(kCallers, [&] {
    EXPECT_EQ(things.get(1, [&] { return ++made, std::make_unique<const int>(7); }), 7);
  });
  together(bodies);
  EXPECT_EQ(made, 1);
}

/// Each waits for the other to have begun, for ten seconds.
TEST(Once, MakesDifferentThingsSideBySide) {
  gpu::Once<int, const bool> things;
  std::atomic<int> begun{0};
  const auto other_began = [&] {
    ++begun;
    for (int i = 0; i < 1000 && begun < 2; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return std::make_unique<const bool>(begun == 2);
  };
  std::vector<std::function<void()>> bodies;
  for (const int key : {1, 2})
    bodies.push_back([&, key] { EXPECT_TRUE(things.get(key, other_began)); });
  together(bodies);
}

TEST(Once, AfterAFailureTheNextTriesAgain) {
  gpu::Once<int, const int> things;
  const auto fails = []() -> std::unique_ptr<const int> { throw std::runtime_error("no"); };
  EXPECT_THROW(things.get(1, fails), std::runtime_error);
  EXPECT_EQ(things.get(1, [] { return std::make_unique<const int>(3); }), 3);
}

}  // namespace
}  // namespace metalconv::test
