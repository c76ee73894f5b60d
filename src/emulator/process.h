// SPDX-License-Identifier: Apache-2.0
// Runs a program and waits for it.
#pragma once

#include <string>
#include <vector>

namespace metalconv::emulator {

struct ProcessResult {
  bool started = false;  ///< false: no such program
  int status = -1;       ///< 0: it ended well
  std::string output;    ///< what it printed, both streams
};

/// Without a shell; arguments[0] is looked up on PATH.
ProcessResult run_process(const std::vector<std::string>& arguments);

}  // namespace metalconv::emulator
