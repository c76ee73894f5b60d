// SPDX-License-Identifier: Apache-2.0
// The gate: no result counts before it has passed here.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "bench/data.h"
#include "bench/faults.h"
#include "bench/result.h"
#include "bench/subject.h"

namespace metalconv::bench {

/// The checks of one problem, made when a kernel first needs them and shared by all kernels.
class Checks {
 public:
  explicit Checks(const ConvProblem& problem, double effort = 1)
      : problem_(problem), effort_(effort) {}
  const Check& get(DataMode mode);

 private:
  ConvProblem problem_;
  double effort_;
  std::map<DataMode, std::unique_ptr<const Check>> checks_;
};

struct Verified {
  Verification seen;
  std::string failure;  ///< empty: the kernel passed everything
};

/// Run `subject` on each data mode that its row promises (exact or scaled integers, special values
/// where every output is compared, and random data last, whose inputs stay in the operands) and
/// compare with the oracle. Outputs, packed weights and workspace are poisoned first; canaries and
/// inputs must be intact afterwards, and no output may keep the poison. `fault` stands in for the
/// execution.
Verified verify(Subject& subject, Checks& checks, const Fault* fault = nullptr);

/// The command that repeats the check of one kernel; `flags` are what it needs besides, each with a
/// space before it: " --isa avx2".
std::string reproducer(const ConvProblem& problem, const Device& device, const KernelRow& row,
                       const std::string& flags);

}  // namespace metalconv::bench
