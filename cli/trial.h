// SPDX-License-Identifier: Apache-2.0
// Trying a vendor's kernel where a crash does no harm.
#pragma once

#include <string>

#include "metalconv/plan.h"

namespace metalconv::cli {

/// Name of the hidden command that a child process runs.
inline constexpr const char* kTrialCommand = "try-vendor";

/// Plan and execute `problem` once with the vendor's `kernel` in a child process running this
/// program. Empty when it came back well, else one sentence on what happened. A trial that takes
/// more than 120 s is ended.
std::string try_in_child(const std::string& device_flags, const ConvProblem& problem,
                         const std::string& kernel);

/// What the child does.
void run_trial(Device& device, const ConvProblem& problem, const std::string& kernel);

}  // namespace metalconv::cli
