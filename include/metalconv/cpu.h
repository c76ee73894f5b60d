// SPDX-License-Identifier: Apache-2.0
// The CPU device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "metalconv/device.h"

namespace metalconv {

/// What make_cpu_device can be told.
struct CpuOptions {
  int threads = 0;     ///< 0: all that this process may use
  std::string isa;     ///< an instruction set that cpu_isas() lists; empty: the best
  bool vendor = true;  ///< look for oneDNN
  /// Bytes of the last-level cache that are ours, beyond which outputs are written past it: for
  /// machines that hide it or share it with others. 0: what the system says.
  std::size_t last_level_cache = 0;
};

/// Instruction sets that the optimized kernels were compiled for and this machine runs, best first,
/// e.g. {"avx512", "avx2", "sse4"}.
std::vector<std::string> cpu_isas();

/// Throws Error{invalid_argument} for an instruction set that the machine does not run.
std::unique_ptr<Device> make_cpu_device(const CpuOptions& options = {});

}  // namespace metalconv
