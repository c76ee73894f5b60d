// SPDX-License-Identifier: Apache-2.0
#include "cli/ending.h"

#include <signal.h>

namespace metalconv::cli {
namespace {

std::atomic<bool> interrupted{false};

void on_interrupt(int signal_number) {
  interrupted = true;
  signal(signal_number, SIG_DFL);
}

}  // namespace

const std::atomic<bool>& watch_interrupts() {
  signal(SIGINT, on_interrupt);
  return interrupted;
}

int exit_status(const bench::Result& result) {
  for (const bench::Row& row : result.rows)
    if (row.verdict == bench::Verdict::failed || row.above_roof) return 1;
  return result.interrupted ? 130 : 0;
}

}  // namespace metalconv::cli
