// SPDX-License-Identifier: Apache-2.0
// Timing of verified subjects, and of the device's roofs.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "bench/result.h"
#include "bench/subject.h"

namespace metalconv::bench {

struct MeasureOptions {
  double budget_seconds = 6;        ///< for one problem, all its implementations together
  double target_half_width = 0.01;  ///< stop when the interval is within +- this part of the median
  int min_samples = 3;
  int max_samples = 60;
  double sample_seconds = 0.02;  ///< executions are repeated until a sample takes this long
  bool cold = false;             ///< rotate buffers beyond the last-level cache
  std::uint64_t seed = 1;        ///< of the random order
};

struct Samples {
  std::vector<double> us;  ///< mean time of one execution in each sample
  int executions = 0;      ///< a sample
  std::string stop;        ///< "interval", "budget" or "samples"
};

/// Called between samples with the fraction done; returning false ends the measuring early.
using Tick = std::function<bool(double fraction)>;

/// Time all subjects of one problem, interleaved in random order. Every sample begins with one
/// execution that is not counted: it wakes the subject's own threads and pulls its code and weights
/// into the caches. Empty samples for every subject when `tick` ended it.
std::vector<Samples> measure(const std::vector<Subject*>& subjects, const MeasureOptions& options,
                             const Tick& tick);

/// Best of `rounds` of each of the device's probes, interleaved.
std::vector<Roof> measure_roofs(Device& device, int rounds, const Tick& tick);

/// The least time in microseconds that the roofs allow, and which of them says so: executed
/// operations over fma, or over the rate of matrix units where a device has that and it is higher;
/// y over write; all bytes over the best of read, write and copy. Byte roofs
/// are those of the smallest measured working set that holds the problem. 0 and "" without roofs.
struct Floor {
  double us = 0;
  std::string bound_by;  ///< "compute" or "memory"
};
Floor roofline_floor(const std::vector<Roof>& roofs, const ConvProblem& problem,
                     double executed_flops, bool cold);

}  // namespace metalconv::bench
