// SPDX-License-Identifier: Apache-2.0
// Known faults to put behind a kernel, so that anyone can see the gate work.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/subject.h"

namespace metalconv::bench {

struct Fault {
  std::string name;
  std::string summary;  ///< one line: what goes wrong
  /// Why the fault would change nothing in this problem; empty when it shows.
  std::function<std::string(const ConvProblem&)> no_effect;
  /// Stands in for subject.execute(): leaves the faulty output in y.
  std::function<void(Subject&)> execute;
};

/// zero-fill, stale-rows, shifted-padding, swapped-strides, dropped-group, nan.
const std::vector<Fault>& faults();
/// Throws Error{invalid_argument} that lists the names.
const Fault& find_fault(std::string_view name);
/// A problem in which every fault shows: unequal strides, groups, padding, tails.
ConvProblem fault_problem();

}  // namespace metalconv::bench
