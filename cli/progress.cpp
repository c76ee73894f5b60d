// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace metalconv::cli {

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0) {}

ProgressLine::~ProgressLine() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

void ProgressLine::show(const bench::Progress& p) {
  const auto now = Clock::now();
  if (!terminal_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  shown_ = true;
  const double part = p.total > 0 ? (double(p.done) + p.fraction) / double(p.total) : 1;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  // Early estimates are wild: say nothing until there is something to go by.
  const std::string eta =
      part > 0.05 && seconds > 1 ? fmt::format("{:.0f} s left", seconds * (1 - part) / part) : "";
  const std::string line = fmt::format("[{:3.0f} %] {:10} {}", part * 100, eta, p.what);
  fmt::print(stderr, "\r\033[K{}", line.substr(0, 79));
  std::fflush(stderr);
}

}  // namespace metalconv::cli
