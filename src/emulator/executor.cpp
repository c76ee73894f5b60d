// SPDX-License-Identifier: Apache-2.0
#include "emulator/executor.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "emulator/sanitizers.h"
#include "metalconv/error.h"

namespace metalconv::emulator {

struct Executor::Launch {
  Launch(const Work& w, const ExecutorOptions& options) : work(w) {
    groups = std::uint64_t(w.groups.x) * w.groups.y * w.groups.z;
    if (!options.pick) return;
    picked = options.pick(groups);
    groups = picked.size();
  }

  /// Of the i-th that runs, its number in the grid.
  std::uint64_t number(std::uint64_t i) const { return picked.empty() ? i : picked[i]; }

  const Work& work;
  std::uint64_t groups = 0;           // that run
  std::vector<std::uint64_t> picked;  // empty: all
  std::atomic<std::uint64_t> next{0}, switches{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::exception_ptr failure;  // the first; guarded by mutex

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::move(error);
    stop = true;
  }
};

namespace {

int choose_threads(int wanted) {
  const int available = wanted > 0 ? wanted : int(std::thread::hardware_concurrency());
  return std::clamp(available, 1, Executor::kMaxThreads);
}

/// How many OS threads take part in a launch.
std::uint64_t helpful_threads(int threads, const Work& work, std::uint64_t groups) {
  const auto most = std::min<std::uint64_t>(std::uint64_t(threads), groups);
  if (!kTsan) return most;
  // Every fiber is a thread to ThreadSanitizer, whose newer runtimes follow 256 at a time: with
  // more, it forgets accesses and misses races (seen with clang 16).
  constexpr std::uint64_t kFollowed = 240;
  const std::uint64_t size = std::uint64_t(work.threads.x) * work.threads.y * work.threads.z;
  return std::min(most, std::max<std::uint64_t>(1, kFollowed / size));
}

}  // namespace

Executor::Executor(const ExecutorOptions& options)
    : options_(options), threads_(choose_threads(options.threads)) {}

std::uint64_t Executor::run(const Work& work) {
  Launch launch(work, options_);
  // Threads of our own, started for each launch: ThreadSanitizer knows what that orders, and 20 us
  // do not matter here.
  std::vector<std::thread> helpers;
  const auto wanted = helpful_threads(threads_, work, launch.groups);
  for (std::uint64_t i = 1; i < wanted; ++i) helpers.emplace_back([&] { run_groups(launch); });
  run_groups(launch);
  for (std::thread& helper : helpers) helper.join();
  if (launch.failure) std::rethrow_exception(launch.failure);
  return launch.switches;
}

void Executor::run_groups(Launch& launch) try {
  std::unique_ptr<Threadgroup> group = take();
  group->begin(launch.work);
  const msl_abi::Uint3 size = launch.work.groups;
  while (!launch.stop) {
    const std::uint64_t i = launch.next++;
    if (i >= launch.groups) break;
    const std::uint64_t n = launch.number(i);
    const std::string failure =
        group->run({std::uint32_t(n % size.x), std::uint32_t(n / size.x % size.y),
                    std::uint32_t(n / size.x / size.y)});
    if (!failure.empty()) throw Error(ErrorCode::device, failure);
  }
  launch.switches += group->switches();
  give_back(std::move(group));
} catch (...) {
  launch.fail(std::current_exception());
}

std::unique_ptr<Threadgroup> Executor::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty())
    return std::make_unique<Threadgroup>(options_.order, options_.seed, options_.threadgroup_bytes);
  auto group = std::move(idle_.back());
  idle_.pop_back();
  return group;
}

void Executor::give_back(std::unique_ptr<Threadgroup> group) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(group));
}

}  // namespace metalconv::emulator
