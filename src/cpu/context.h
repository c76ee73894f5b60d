// SPDX-License-Identifier: Apache-2.0
// What every CPU kernel is given: threads and the instruction set.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace metalconv::cpu {

/// Shared by all kernels of one device; must outlive them.
class Context {
 public:
  /// Bytes of a core's own cache and of the last level.
  Context(int threads, std::string isa, std::size_t core_cache, std::size_t last_cache)
      : threads_(threads),
        isa_(std::move(isa)),
        core_cache_(core_cache),
        last_cache_(last_cache),
        arena_(threads) {}

  int threads() const { return threads_; }
  /// One of cpu_isas(): "avx512", "avx2", "sse4", "neon", "scalar".
  const std::string& isa() const { return isa_; }
  /// Bytes of the largest cache that a core has for itself.
  std::size_t core_cache() const { return core_cache_; }
  /// Bytes of the last-level cache, 0 where unknown. Larger outputs are written past it by
  /// streaming stores.
  std::size_t last_cache() const { return last_cache_; }

  /// body(i) for every i in [0, n), each once, spread over the threads; waits.
  template <class Body>
  void parallel_for(std::int64_t n, const Body& body) const {
    if (n <= 0) return;
    if (threads_ == 1) {  // oneTBB's arena of one has room for a second thread when callers queue
      for (std::int64_t i = 0; i < n; ++i) body(i);
      return;
    }
    arena_.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<std::int64_t>(0, n, 1),
          [&](const tbb::blocked_range<std::int64_t>& r) {
            for (std::int64_t i = r.begin(); i != r.end(); ++i) body(i);
          },
          tbb::simple_partitioner());
    });
  }

 private:
  int threads_;
  std::string isa_;
  std::size_t core_cache_, last_cache_;
  mutable tbb::task_arena arena_;
};

}  // namespace metalconv::cpu
