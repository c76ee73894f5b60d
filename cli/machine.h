// SPDX-License-Identifier: Apache-2.0
// What a report says of its run: the machine, when and how, and what disturbed it.
#pragma once

#include <memory>
#include <span>
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

/// A line for `wisdom` and for each of `shipped` that chose kernels of `result`, a run on `devices`
/// in which the planner chose.
void add_wisdom(const bench::Result& result, const std::vector<Device*>& devices,
                const Wisdom& wisdom, std::span<const Wisdom> shipped,
                std::vector<std::pair<std::string, std::string>>* block);
/// "measured on 2026-11-26", or as much of it as the provenance says.
std::string measured_text(const Wisdom& shipped);

/// Of this moment: "2026-11-26T12:12:30Z".
std::string utc_now();
/// With quotes where a shell needs them.
std::string command_line(int argc, char** argv);

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
