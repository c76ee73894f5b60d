// SPDX-License-Identifier: Apache-2.0
#include "bench/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/groups.h"
#include "bench/stats.h"
#include "bench/text.h"
#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using std::size_t;

// What bench takes at least. The interval of a single sample has no width and would decide alone.
constexpr size_t kLeastSamples = 3;

// ---- which row of A is which of B

struct Candidate {
  const Row* row;
  bool chosen;  ///< the only `optimized` row of its problem: what the planner chose
  bool taken = false;
};

/// With several `optimized` rows (--every-kernel) the file does not say which the planner chose.
bool is_only_optimized(const Result& result, const Row& row) {
  const auto alike = [&](const Row& other) {
    return other.implementation == Implementation::optimized && other.name == row.name &&
           other.device == row.device && other.problem == row.problem;
  };
  return row.implementation == Implementation::optimized &&
         std::count_if(result.rows.begin(), result.rows.end(), alike) == 1;
}

std::vector<Candidate> candidates(const Result& result) {
  std::vector<Candidate> list;
  for (const Row& row : result.rows) list.push_back({&row, is_only_optimized(result, row)});
  return list;
}

bool same_kernel(const Candidate& a, const Candidate& b) {
  return a.row->implementation == b.row->implementation && a.row->kernel == b.row->kernel &&
         a.row->device == b.row->device && a.row->problem == b.row->problem;
}
bool both_chosen(const Candidate& a, const Candidate& b) {
  return a.chosen && b.chosen && a.row->device == b.row->device && a.row->problem == b.row->problem;
}
bool same_name(const Candidate& a, const Candidate& b) { return a.row->name == b.row->name; }

/// A row of A with its partner in B; null where one of them has none.
struct Pair {
  const Row* a;
  const Row* b;
};

/// The surest matches first. Names only tell twins apart: a workload may hold a problem twice.
std::vector<Pair> match(const Result& a, const Result& b) {
  std::vector<Candidate> left = candidates(a), right = candidates(b);
  std::vector<Pair> pairs;
  for (const Candidate& c : left) pairs.push_back({c.row, nullptr});
  for (const auto& matches : {same_kernel, both_chosen})
    for (const bool by_name : {true, false})
      for (size_t i = 0; i < left.size(); ++i) {
        if (left[i].taken) continue;
        const auto partner = std::find_if(right.begin(), right.end(), [&](const Candidate& c) {
          return !c.taken && matches(left[i], c) && (!by_name || same_name(left[i], c));
        });
        if (partner == right.end()) continue;
        left[i].taken = partner->taken = true;
        pairs[i].b = partner->row;
      }
  for (const Candidate& c : right)
    if (!c.taken) pairs.push_back({nullptr, c.row});
  return pairs;
}

// ---- what became of a pair

bool is_time(double us) { return std::isfinite(us) && us > 0; }

/// Why `row` of that file has no time to compare; empty when it has one.
std::string obstacle(const Row& row, const char* file) {
  if (row.verdict != Verdict::ok)
    return fmt::format("{} in {}: {}", to_string(row.verdict), file, row.reason);
  if (!row.time_us) return fmt::format("no time in {}", file);
  if (row.above_roof) return fmt::format("faster than the roofs allow in {}", file);
  const auto& samples = row.samples_us;
  if (samples.size() < kLeastSamples)
    return fmt::format("{} in {}, an interval needs at least {}",
                       count_text(samples.size(), "sample"), file, kLeastSamples);
  const auto bad = std::find_if_not(samples.begin(), samples.end(), is_time);
  if (bad == samples.end()) return {};
  return fmt::format("a sample is {} in {}, it must be finite and above 0", *bad, file);
}

std::optional<double> time_of(const Row* row) {
  if (!row || !obstacle(*row, "").empty()) return {};
  return median(row->samples_us);
}

std::string why_not_compared(const Pair& pair) {
  if (!pair.b) return "only in A";
  if (!pair.a) return "only in B";
  std::vector<std::string> reasons;
  for (const std::string& reason : {obstacle(*pair.a, "A"), obstacle(*pair.b, "B")})
    if (!reason.empty()) reasons.push_back(reason);
  return fmt::format("{}", fmt::join(reasons, "; "));
}

bool became_wrong(const Pair& pair) {
  return pair.a && pair.b && pair.a->verdict == Verdict::ok && pair.b->verdict == Verdict::failed;
}

ComparedRow compared(const Pair& pair, double tolerance) {
  const Row& any = pair.a ? *pair.a : *pair.b;
  ComparedRow row;
  row.name = any.name;
  row.problem = any.problem;
  row.device = any.device;
  row.implementation = any.implementation;
  if (pair.a) row.kernel_a = pair.a->kernel;
  if (pair.b) row.kernel_b = pair.b->kernel;
  row.us_a = time_of(pair.a);
  row.us_b = time_of(pair.b);
  if (became_wrong(pair)) {
    row.change = Change::failed;
    row.reason = pair.b->reason;
    row.reproducer = pair.b->reproducer;
  } else if (row.us_a && row.us_b) {
    row.ratio = ratio_interval(pair.a->samples_us, pair.b->samples_us);
    row.change = judge(*row.ratio, tolerance);
  } else {
    row.reason = why_not_compared(pair);
  }
  return row;
}

std::vector<MeanRatio> means_of(const std::vector<ComparedRow>& rows) {
  std::vector<MeanRatio> means;  // of logarithms, until the end
  for (const ComparedRow& row : rows) {
    if (!row.ratio) continue;
    auto mean = std::find_if(means.begin(), means.end(), [&](const MeanRatio& m) {
      return m.device == row.device && m.implementation == row.implementation;
    });
    if (mean == means.end()) mean = means.insert(mean, {row.device, row.implementation, 0, 0});
    mean->ratio += std::log(row.ratio->median);
    ++mean->rows;
  }
  std::stable_sort(means.begin(), means.end(), [](const MeanRatio& x, const MeanRatio& y) {
    return x.implementation < y.implementation;
  });
  for (MeanRatio& mean : means) mean.ratio = std::exp(mean.ratio / double(mean.rows));
  return means;
}

// ---- what else differs

std::string fact(const Result& result, std::string_view key) {
  for (const auto& [name, value] : result.machine)
    if (name == key) return value;
  return {};
}

/// Facts that differ from run to run on one machine, and the version, which is what one compares.
bool may_differ(std::string_view key) {
  return key.ends_with(" memory free") || key == "metalconv";
}

/// Facts of a device begin with its name. Those of a device that only one file has say nothing.
bool is_of_one_side(std::string_view key, const Result& a, const Result& b) {
  const std::string device(key.substr(0, key.find(' ')));
  const auto holds = [&](const Result& result) { return !fact(result, device).empty(); };
  return holds(a) != holds(b);
}

std::string fact_text(const Result& result, const std::string& key, const char* file) {
  const std::string value = fact(result, key);
  return value.empty() ? fmt::format("not given in {}", file)
                       : fmt::format("{} in {}", value, file);
}

void add_machine_differences(const Result& a, const Result& b, std::vector<std::string>* warnings) {
  std::vector<std::string> keys;
  for (const Result* result : {&a, &b})
    for (const auto& [key, value] : result->machine)
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) {
    if (may_differ(key) || is_of_one_side(key, a, b) || fact(a, key) == fact(b, key)) continue;
    warnings->push_back(fmt::format("The machines differ: {} is {} and {}.", key,
                                    fact_text(a, key, "A"), fact_text(b, key, "B")));
  }
}

void add_run_warnings(const Result& result, const char* file, std::vector<std::string>* warnings) {
  if (result.interrupted)
    warnings->push_back(fmt::format("{} was interrupted and holds completed problems only.", file));
  for (const std::string& warning : result.warnings)
    warnings->push_back(fmt::format("{} was measured with a warning: {}", file, warning));
}

std::vector<std::string> warnings_of(const Result& a, const Result& b) {
  std::vector<std::string> warnings;
  if (a.mode != b.mode)
    warnings.push_back(
        fmt::format("The modes differ: A was measured {} and B {}, which are not the same time.",
                    a.mode, b.mode));
  const auto devices_a = devices_of(a), devices_b = devices_of(b);
  if (!std::is_permutation(devices_a.begin(), devices_a.end(), devices_b.begin(), devices_b.end()))
    warnings.push_back(fmt::format("The devices differ: A holds rows of {} and B of {}.",
                                   list_text(devices_a), list_text(devices_b)));
  add_machine_differences(a, b, &warnings);
  add_run_warnings(a, "A", &warnings);
  add_run_warnings(b, "B", &warnings);
  return warnings;
}

Origin origin_of(const Result& result) {
  return {result.workload, result.mode, result.started, fact(result, "metalconv")};
}

void check_tolerance(double tolerance) {
  if (!(tolerance >= 0 && tolerance < 1))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("tolerance is {}, but must be at least 0 and below 1", tolerance));
}

/// Nothing compared would look like nothing slower.
void check_common(const std::vector<Pair>& pairs, const Result& a, const Result& b) {
  if (std::any_of(pairs.begin(), pairs.end(), [](const Pair& p) { return p.a && p.b; })) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("A holds {} and B {}, but none of the same problem, device, "
                          "implementation and kernel: nothing can be compared",
                          count_text(a.rows.size(), "row"), count_text(b.rows.size(), "row")));
}

}  // namespace

std::string_view to_string(Change change) {
  switch (change) {
    case Change::faster:
      return "FASTER";
    case Change::slower:
      return "SLOWER";
    case Change::same:
      return "SAME";
    case Change::unclear:
      return "UNCLEAR";
    case Change::failed:
      return "FAILED";
    case Change::not_compared:
      break;
  }
  return "not compared";
}

const std::vector<Change>& all_changes() {
  static const std::vector<Change> changes{Change::faster,  Change::slower, Change::same,
                                           Change::unclear, Change::failed, Change::not_compared};
  return changes;
}

Change judge(const Interval& ratio, double tolerance) {
  // Each verdict needs comparisons that hold, which none with NaN does.
  if (!(std::isfinite(ratio.low) && std::isfinite(ratio.high))) return Change::unclear;
  if (ratio.low > 1 + tolerance) return Change::faster;
  if (ratio.high < 1 - tolerance) return Change::slower;
  if (ratio.low >= 1 - tolerance && ratio.high <= 1 + tolerance) return Change::same;
  return Change::unclear;
}

std::size_t Comparison::count(Change change) const {
  return size_t(std::count_if(rows.begin(), rows.end(),
                              [&](const ComparedRow& row) { return row.change == change; }));
}

Comparison compare(const Result& a, const Result& b, double tolerance) {
  check_tolerance(tolerance);
  const std::vector<Pair> pairs = match(a, b);
  check_common(pairs, a, b);
  Comparison comparison;
  comparison.tolerance = tolerance;
  comparison.a = origin_of(a);
  comparison.b = origin_of(b);
  comparison.warnings = warnings_of(a, b);
  for (const Pair& pair : pairs) comparison.rows.push_back(compared(pair, tolerance));
  comparison.means = means_of(comparison.rows);
  return comparison;
}

}  // namespace metalconv::bench
