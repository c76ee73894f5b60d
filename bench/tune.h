// SPDX-License-Identifier: Apache-2.0
// Tuning: which kernel of ours a run found to be the fastest, for the planner's wisdom.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/result.h"
#include "bench/run.h"
#include "bench/table.h"
#include "metalconv/wisdom.h"

namespace metalconv::bench {

/// Makes `options` those of a run that choices_of can read: every kernel that the planner may take
/// and whose estimate is not hopeless (4 times the least), verified on a part of the outputs.
void set_for_tuning(RunOptions* options);

/// What a run found for one problem on one device. Rows are the result's.
struct Tuned {
  std::string label;
  ConvProblem problem;
  const Device* device = nullptr;
  std::string estimate;            ///< the kernel that the planner's estimate takes, if any
  const Row* estimated = nullptr;  ///< its row; null when it has no time, e.g. for it failed
  /// The fastest verified row, but `estimated` where their intervals overlap, so that noise changes
  /// no choice. Null when nothing was timed.
  const Row* winner = nullptr;
  std::vector<const Row*> rows;  ///< of every kernel, with or without a time

  /// Of the estimate's time, the percentage that the winner saves.
  std::optional<double> gain_percent() const;
};

/// In the order of the problems. `devices` are those that the run was on.
std::vector<Tuned> choices_of(const Result& result, const std::vector<Device*>& devices);

using MachineKey = std::string(const DeviceInfo&);
/// Records each winner under the `key` of its device, and forgets what was known of problems that
/// have none.
void record(const std::vector<Tuned>& choices, Wisdom* wisdom, MachineKey* key = machine_key);

/// A line for each problem: the estimate's choice, the winner, their times and the gain.
Table tuning_table(const std::vector<Tuned>& choices);

}  // namespace metalconv::bench
