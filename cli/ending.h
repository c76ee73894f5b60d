// SPDX-License-Identifier: Apache-2.0
// How a run ends: Ctrl-C, and the exit status.
#pragma once

#include <atomic>

#include "bench/result.h"

namespace metalconv::cli {

/// True once Ctrl-C was pressed: the run is to end after the sample at hand. From this call on; a
/// second Ctrl-C ends the program.
const std::atomic<bool>& watch_interrupts();

/// 1 when a row failed or is above its roof, 130 when the run was interrupted, else 0.
int exit_status(const bench::Result& result);

}  // namespace metalconv::cli
