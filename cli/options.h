// SPDX-License-Identifier: Apache-2.0
// Options that several commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "bench/run.h"
#include "bench/workloads.h"
#include "metalconv/cpu.h"

namespace metalconv::cli {

/// --threads, --isa and --no-vendor: how the CPU device is made.
void add_cpu_options(CLI::App& app, CpuOptions& options);

/// Which device: --device NAME, or a list of them.
struct DeviceChoice {
  std::vector<std::string> names{"auto"};
  CpuOptions cpu;

  void add_to(CLI::App& app);
  std::vector<std::unique_ptr<Device>> open() const;
  /// The flags that a reproducer must repeat besides --device.
  std::string flags() const;
};

/// What to run: workload names or problem texts, multiplied by axes, and which kernels.
struct TargetChoice {
  std::vector<std::string> targets;
  bench::Axes axes;
  std::vector<std::string> layouts, dtypes, precisions, implementations;
  std::string kernel;
  bool every_kernel = false;

  void add_to(CLI::App& app);
  /// Only what says which problems.
  void add_problems_to(CLI::App& app);
  /// `fallback` when no target was named.
  bench::Workload workload(const std::vector<std::string>& fallback) const;
  void apply(bench::RunOptions* options) const;
};

}  // namespace metalconv::cli
