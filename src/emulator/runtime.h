// SPDX-License-Identifier: Apache-2.0
// Metal's kernels on CPU fibers, for truth, not for speed.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "emulator/executor.h"
#include "gpu/runtime.h"

namespace metalconv::emulator {

struct Options {
  ExecutorOptions executor;
  std::string compiler;         ///< a C++ compiler; empty: the first one found
  std::filesystem::path cache;  ///< of compiled kernels; empty: in the user's cache folder
  /// Limits::compute_units, so that kernels take the tiles that they take on a GPU of that size.
  std::uint32_t compute_units = 1;
};

/// Needs a C++ compiler when it first compiles a kernel, and says so then.
std::unique_ptr<gpu::Runtime> make_runtime(const Options& options = {});

/// Empty, or why this build or this machine has no emulator.
std::string unavailable();

}  // namespace metalconv::emulator
