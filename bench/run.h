// SPDX-License-Identifier: Apache-2.0
// A whole run: for each problem plan, verify, measure; then the figures that reports read.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/measure.h"
#include "bench/result.h"
#include "bench/workloads.h"

namespace metalconv::bench {

struct Progress {
  std::size_t done = 0, total = 0;  ///< problems on devices
  double fraction = 0;              ///< of the problem at hand
  std::string what;                 ///< "1920x1080: timing 3 kernels"
};

struct RunOptions {
  bool time = true;         ///< false: only verify
  bool force_time = false;  ///< time devices that are for truth, not for speed, too
  bool cold = false;
  MeasureOptions measure;
  /// Roles to run; empty: all. Of `optimized` the planner's choice runs, of `vendor` every row.
  std::vector<Implementation> implementations;
  std::string kernel;         ///< only rows of this name
  bool every_kernel = false;  ///< every applicable row, not only the planner's choice
  /// Of the optimized rows that would run, only those whose estimate is at most this times the
  /// least of them, and finite; 0: all of them.
  double within = 0;
  bool compile_ahead = false;  ///< every kernel, on all processors, before the first problem
  /// Of a whole verification's comparisons, the part that is made: see make_check.
  double effort = 1;
  const Wisdom* wisdom = nullptr;                       ///< what the planner may go by; may be null
  std::span<const Wisdom> shipped = shipped_choices();  ///< and after that
  std::string inject;                                   ///< a fault behind `optimized`; empty: none
  std::string reproduce_flags;  ///< what a reproducer needs besides the problem, e.g. "--isa avx2"
  /// Try a vendor's kernel on a problem where a crash does no harm (a child process). Empty when it
  /// came back well, else what happened. Null: no trial.
  std::function<std::string(const ConvProblem&, const KernelRow&)> try_vendor;
  std::function<void(const Progress&)> progress;
  const std::atomic<bool>* interrupted = nullptr;
};

/// Run `workload` on `devices`. Rows of a problem are in the result only when the problem was
/// completed; an interrupt keeps those so far.
Result run(const std::vector<Device*>& devices, const Workload& workload,
           const RunOptions& options);

}  // namespace metalconv::bench
