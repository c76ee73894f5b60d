// SPDX-License-Identifier: Apache-2.0
// What a run of the benchmark found: the one thing that measure writes and reports read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metalconv/plan.h"
#include "metalconv/problem.h"

namespace metalconv::bench {

/// A median with its bootstrap 95 % interval.
struct Interval {
  double median = 0, low = 0, high = 0;
};

enum class Verdict { ok, failed, skipped };
std::string_view to_string(Verdict);

/// What the gate saw. Filled for ok and failed rows.
struct Verification {
  std::string coverage;      ///< "every output" or "borders, 1 point a tile, 4096 random (N of M)"
  std::int64_t checked = 0;  ///< outputs compared with the oracle, both modes together
  double worst_ratio = 0;    ///< max |y - ref| / bound in bound mode; above 1 (or NaN) fails
  double error_units = 0;    ///< the same error as c: max (|y - ref| - half ulp) / (u_acc S L)
  bool exact = false;        ///< exact mode was run too (and passed, when the verdict is ok)
};

/// One implementation (one kernel) on one problem.
struct Row {
  std::string name;  ///< of the problem in its workload, e.g. "800x600"; else its text
  ConvProblem problem;
  std::string device;  ///< "cpu"
  Implementation implementation = Implementation::basic;
  std::string kernel;  ///< registry row; empty when none applied
  std::string detail;  ///< what ran, in the kernel's words
  std::size_t workspace_bytes = 0;
  Verdict verdict = Verdict::skipped;
  std::string reason;      ///< why failed or skipped, one sentence; empty when ok
  std::string reproducer;  ///< a command that shows the failure again; empty when ok
  Verification verification;

  // Set only when the verdict is ok and timing was asked for.
  std::optional<Interval> time_us;
  std::vector<double> samples_us;  ///< one a sample: mean time of one execution in it
  int executions_per_sample = 0;
  std::string stop;             ///< "interval", "budget" or "samples": which rule ended it
  double executed_flops = 0;    ///< operations that the kernel executes
  double bytes = 0;             ///< fewest bytes: x, w, bias read once, y written once
  double gflops = 0;            ///< executed operations / median time, 1e9/s
  double direct_gflops = 0;     ///< direct-equivalent: problem.flops() / median time
  double gbytes_per_s = 0;      ///< bytes / median time
  double roof_us = 0;           ///< the roofline's time: max(executed/fma roof, byte bound)
  std::string bound_by;         ///< "compute" or "memory": the larger of the two
  double roofline_percent = 0;  ///< 100 roof_us / median
  bool above_roof = false;      ///< faster than a roof allows: an error in our counting
  std::optional<Interval> speedup_vs_vendor;  ///< time(vendor) / time(this), > 1 is faster
};

/// A rate measured on the device in this run.
struct Roof {
  std::string device;
  std::string name;  ///< "write", "read", "copy", "fma", "matrix f16" ...
  std::string path;  ///< code path
  std::string unit;  ///< "B/s" or "FLOP/s"
  double working_set_bytes =
      0;            ///< bytes touched: which cache level this is the roof of; 0: operations
  double rate = 0;  ///< best of the samples
  std::vector<double> samples;
};

struct Result {
  static constexpr int kSchema = 1;
  std::string workload;       ///< "baseline", "kernel-sizes", ... or "custom"
  std::string mode = "warm";  ///< "warm" or "cold" (buffers rotate beyond the last-level cache)
  std::string command;        ///< the command line that made it
  std::string started;        ///< UTC, ISO 8601
  double seconds = 0;         ///< wall time of the whole run
  bool interrupted = false;   ///< Ctrl-C: only the completed rows are here
  /// Machine block in display order: device, cpu, threads, memory, os, compiler, commit, flags ...
  std::vector<std::pair<std::string, std::string>> machine;
  std::vector<std::string> warnings;  ///< noise and what to do about it
  std::vector<Roof> roofs;
  std::vector<Row> rows;  ///< grouped by problem, in workload order
};

}  // namespace metalconv::bench
