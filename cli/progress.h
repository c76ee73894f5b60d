// SPDX-License-Identifier: Apache-2.0
// One line on the terminal that says what is going on and how long it will take.
#pragma once

#include <chrono>

#include "bench/run.h"

namespace metalconv::cli {

/// Writes to stderr, at most ten times a second, and only when stderr is a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();  ///< clears the line
  void show(const bench::Progress& progress);

 private:
  using Clock = std::chrono::steady_clock;
  bool terminal_;
  bool shown_ = false;
  Clock::time_point start_ = Clock::now(), last_{};
};

}  // namespace metalconv::cli
