// SPDX-License-Identifier: Apache-2.0
// The emulator: Metal's kernels on CPU fibers, for truth, not for speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "metalconv/device.h"

namespace metalconv {

/// In which order the threads of a threadgroup run between two barriers. A kernel that lacks no
/// barrier gives the same bits in every order.
enum class LaneOrder { forward, reversed, shuffled };

/// What make_emulator_device can be told.
struct EmulatorOptions {
  int threads = 0;  ///< OS threads, each running whole threadgroups; 0: all, at most 16
  LaneOrder order = LaneOrder::forward;  ///< of the threads between barriers
  std::uint64_t seed = 1;                ///< of LaneOrder::shuffled
  std::string cache;  ///< folder of compiled kernels; empty: in the user's cache folder
  /// Kernels take the tiles that they take on a GPU with so many cores; 0: their largest.
  std::uint32_t compute_units = 0;
  /// Of threadgroup memory: as much as Metal has; CUDA has 49152 bytes.
  std::size_t threadgroup_bytes = 32768;
};

/// Needs a C++ compiler when it first compiles a kernel. Throws Error{device} with the reason where
/// this build or this machine has no emulator.
std::unique_ptr<Device> make_emulator_device(const EmulatorOptions& options = {});

}  // namespace metalconv
