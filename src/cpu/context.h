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
  Context(int threads, std::string isa, std::size_t llc_bytes)
      : threads_(threads), isa_(std::move(isa)), llc_bytes_(llc_bytes), arena_(threads) {}

  int threads() const { return threads_; }
  /// One of cpu_isas(): "avx512", "avx2", "sse4", "neon", "scalar".
  const std::string& isa() const { return isa_; }
  /// Outputs larger than this are written past the cache by streaming stores.
  std::size_t llc_bytes() const { return llc_bytes_; }

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
  std::size_t llc_bytes_;
  mutable tbb::task_arena arena_;
};

}  // namespace metalconv::cpu
