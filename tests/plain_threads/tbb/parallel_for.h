// SPDX-License-Identifier: Apache-2.0
// See task_arena.h.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace tbb {

struct simple_partitioner {};
struct auto_partitioner {};
struct static_partitioner {};

/// body(part) for parts of `grainsize` of the range; each thread takes the next part that is left.
template <class Value, class Body, class Partitioner = auto_partitioner>
void parallel_for(const blocked_range<Value>& range, const Body& body, Partitioner = {}) {
  const Value grain = static_cast<Value>(range.grainsize());
  const int threads = plain::concurrency;
  std::atomic<Value> next{range.begin()};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&](int index) {
    plain::concurrency = threads;
    plain::index = index;
    try {
      // Relaxed: the counter orders nothing, so that a missing order in the body stays visible.
      for (Value i; (i = next.fetch_add(grain, std::memory_order_relaxed)) < range.end();) {
        body(blocked_range<Value>(i, std::min<Value>(i + grain, range.end()), range.grainsize()));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  const int outside = plain::index;
  for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& other : others) other.join();
  plain::index = outside;
  if (error) std::rethrow_exception(error);
}

}  // namespace tbb
