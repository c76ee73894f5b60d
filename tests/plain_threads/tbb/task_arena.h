// SPDX-License-Identifier: Apache-2.0
// The part of oneTBB that we use, on plain std::thread, for ThreadSanitizer: the installed libtbb
// is not instrumented, so its hand-overs look like races, and suppressing them would hide ours too.
// The tsan preset puts this folder before the real headers.
#pragma once

namespace tbb {
namespace plain {

inline thread_local int concurrency = 4;
inline thread_local int index = 0;

}  // namespace plain

class task_arena {
 public:
  explicit task_arena(int max_concurrency) : max_concurrency_(max_concurrency) {}

  template <class Body>
  void execute(const Body& body) {
    const int outside = plain::concurrency;
    plain::concurrency = max_concurrency_;
    body();
    plain::concurrency = outside;
  }

  int max_concurrency() const { return max_concurrency_; }

 private:
  int max_concurrency_;
};

namespace this_task_arena {

inline int max_concurrency() { return plain::concurrency; }
inline int current_thread_index() { return plain::index; }

}  // namespace this_task_arena
}  // namespace tbb
