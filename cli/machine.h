// SPDX-License-Identifier: Apache-2.0
// What a report says of the machine that it ran on, and of what disturbed it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/result.h"
#include "metalconv/device.h"
#include "metalconv/wisdom.h"

namespace metalconv::cli {

/// In display order: devices, memory, operating system, compiler, version.
std::vector<std::pair<std::string, std::string>> machine_block(
    const std::vector<std::unique_ptr<Device>>& devices);

/// A line when `wisdom` chose kernels of `result`, a run on `devices` in which the planner chose.
void add_wisdom(const bench::Result& result, const std::vector<Device*>& devices,
                const Wisdom& wisdom, std::vector<std::pair<std::string, std::string>>* block);

/// Watches the machine from its construction on.
class NoiseWatch {
 public:
  NoiseWatch();
  /// Sentences on what may have disturbed the run, each with what to do about it.
  std::vector<std::string> warnings(const bench::Result& result) const;

 private:
  /// Of all processors, in seconds: what a hypervisor gave to others, what programs had, ours
  /// included, all there was; and what this process and its children had.
  struct Times {
    double stolen = 0, busy = 0, total = 0, own = 0;
  };
  static Times times();
  double others(const Times& spent) const;

  double load_ = 0;
  Times start_;
};

}  // namespace metalconv::cli
