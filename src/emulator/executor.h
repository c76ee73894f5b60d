// SPDX-License-Identifier: Apache-2.0
// Runs a launch: threadgroups spread over OS threads, each group on one of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "emulator/threadgroup.h"

namespace metalconv::emulator {

struct ExecutorOptions {
  int threads = 0;  ///< 0: all that this process may use, up to Executor::kMaxThreads
  LaneOrder order = LaneOrder::forward;
  std::uint64_t seed = 1;  ///< of LaneOrder::shuffled
  std::size_t threadgroup_bytes = 32768;
  /// Which threadgroups of a launch of so many run, by their number, x fastest; null: all. For
  /// grids of billions, whose index arithmetic a few groups show.
  std::function<std::vector<std::uint64_t>(std::uint64_t groups)> pick;
};

class Executor {
 public:
  /// Stacks are what bounds it: 1024 of them a thread, each two of the 65,530 mappings that Linux
  /// gives a process.
  static constexpr int kMaxThreads = 16;

  explicit Executor(const ExecutorOptions& options);

  /// Returns when all groups are done, with the number of switches between fibers. Throws
  /// Error{device} with the first rule that the kernel broke. May be called from several threads.
  std::uint64_t run(const Work& work);

  int threads() const { return threads_; }

 private:
  struct Launch;
  void run_groups(Launch& launch);
  std::unique_ptr<Threadgroup> take();
  void give_back(std::unique_ptr<Threadgroup> group);

  ExecutorOptions options_;
  int threads_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Threadgroup>> idle_;  // with their fibers; guarded by mutex_
};

}  // namespace metalconv::emulator
