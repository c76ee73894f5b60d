// SPDX-License-Identifier: Apache-2.0
// Two results, row by row: what became faster, slower or wrong from A to B.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

/// What became of a row. The ratio is time(A) / time(B); "all of it" means its 95 % interval.
enum class Change {
  faster,        ///< all of it above 1 + tolerance
  slower,        ///< all of it below 1 - tolerance: a regression
  same,          ///< all of it within 1 +- tolerance
  unclear,       ///< it reaches over one of them
  failed,        ///< ok in A, failed in B: a regression
  not_compared,  ///< in one file only, or without a time in one
};
/// "FASTER" ... "FAILED", "not compared".
std::string_view to_string(Change);
/// What every count of changes goes through, in this order.
const std::vector<Change>& all_changes();

/// NaN and infinity are `unclear`.
Change judge(const Interval& ratio, double tolerance);

struct ComparedRow {
  std::string name;  ///< of the problem in its workload
  ConvProblem problem;
  std::string device;
  Implementation implementation = Implementation::basic;
  std::string kernel_a, kernel_b;    ///< empty where the file has no such row
  std::optional<double> us_a, us_b;  ///< medians of the samples
  std::optional<Interval> ratio;     ///< time(A) / time(B), above 1: B is faster
  Change change = Change::not_compared;
  std::string reason;      ///< of `failed` and `not_compared`; empty otherwise
  std::string reproducer;  ///< of `failed`

  /// The planner chose another kernel in B.
  bool kernel_changed() const {
    return !kernel_a.empty() && !kernel_b.empty() && kernel_a != kernel_b;
  }
};

/// The geometric mean of the ratios of an implementation on a device.
struct MeanRatio {
  std::string device;
  Implementation implementation = Implementation::basic;
  double ratio = 1;
  std::size_t rows = 0;
};

/// Where a result comes from.
struct Origin {
  std::string workload, mode, started, version;
};

struct Comparison {
  double tolerance = 0;
  Origin a, b;
  std::vector<std::string> warnings;  ///< what else differs between A and B, one sentence each
  std::vector<ComparedRow> rows;      ///< in the order of A, then what only B has
  std::vector<MeanRatio> means;

  std::size_t count(Change) const;
  bool has_regression() const { return count(Change::slower) + count(Change::failed) > 0; }
};

inline constexpr double kDefaultTolerance = 0.03;

/// Rows match by problem, device, implementation and kernel. Where the kernel differs, the only
/// `optimized` rows of a problem on a device match: they are what the planner chose.
/// Throws Error{invalid_argument} for a tolerance outside [0, 1) and when no row of A is in B.
Comparison compare(const Result& a, const Result& b, double tolerance = kDefaultTolerance);

/// For a terminal: warnings, a table in 80 columns of ASCII, what failed or was not compared and
/// why, the means and the counts.
std::string to_text(const Comparison&);
/// docs/json-schema.md describes every key.
std::string to_json(const Comparison&);

}  // namespace metalconv::bench
