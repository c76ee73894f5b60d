// SPDX-License-Identifier: Apache-2.0
// A comparison for a terminal.
#include <fmt/format.h>

#include <algorithm>

#include "bench/compare.h"
#include "bench/stats.h"
#include "bench/table.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

constexpr double kMillisecond = 1000;

/// Three decimals, as a tolerance of a few percent needs.
std::string ratio_text(double ratio) {
  return ratio < 10 ? fmt::format("{:.3f}", ratio) : significant(ratio, 4);
}

std::string ratio_text(const Interval& ratio) {
  return fmt::format("{} ({}-{})", ratio_text(ratio.median), ratio_text(ratio.low),
                     ratio_text(ratio.high));
}

/// One unit for the whole table.
bool in_milliseconds(const Comparison& comparison) {
  std::vector<double> times;
  for (const ComparedRow& row : comparison.rows)
    if (row.us_a) times.push_back(*row.us_a);
  return !times.empty() && median(times) >= kMillisecond;
}

std::vector<std::string> devices(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const ComparedRow& row : comparison.rows)
    if (std::find(names.begin(), names.end(), row.device) == names.end())
      names.push_back(row.device);
  return names;
}

Table rows_table(const Comparison& comparison) {
  const bool milliseconds = in_milliseconds(comparison), several = devices(comparison).size() > 1;
  const std::string unit = milliseconds ? "ms" : "us";
  const auto time = [&](const std::optional<double>& us) {
    return us ? significant(milliseconds ? *us / kMillisecond : *us, 4) : std::string();
  };
  Table table;
  table.columns = {{"problem", false, 9}};
  if (several) table.columns.push_back({"device", false, 4});
  table.columns.insert(table.columns.end(), {{"role", false, 5},
                                             {"kernel", false, 7},
                                             {"A, " + unit},
                                             {"B, " + unit},
                                             {"A / B (95 %)"},
                                             {"verdict", false}});
  for (const ComparedRow& row : comparison.rows) {
    if (row.change == Change::not_compared) continue;
    auto& cells = table.rows.emplace_back();
    const auto add = [&](std::string_view text) { cells.push_back({printable(text), "", 0}); };
    add(row.name);
    if (several) add(row.device);
    add(to_string(row.implementation));
    add(row.kernel_b);
    add(time(row.us_a));
    add(time(row.us_b));
    add(row.ratio ? ratio_text(*row.ratio) : "");
    add(fmt::format("{}{}", to_string(row.change), row.kernel_changed() ? " *" : ""));
  }
  return table;
}

/// "800x600 cpu vendor onednn-3.2.0"; without a kernel, or with one that its role names already,
/// shorter.
std::string row_text(const ComparedRow& row) {
  const std::string& kernel = row.kernel_b.empty() ? row.kernel_a : row.kernel_b;
  const std::string_view role = to_string(row.implementation);
  std::string text = fmt::format("{} {} {}", row.name, row.device, role);
  if (!kernel.empty() && kernel != role && !row.kernel_changed()) text += " " + kernel;
  return printable(text);
}

std::string origin_text(const char* file, const Origin& origin) {
  std::string text = fmt::format("{}: {}, {}", file, origin.workload, origin.mode);
  if (!origin.started.empty()) text += ", " + origin.started;
  if (!origin.version.empty()) text += ", metalconv " + origin.version;
  return printable(text) + "\n";
}

std::string failures_text(const Comparison& comparison) {
  std::string text;
  for (const ComparedRow& row : comparison.rows) {
    if (row.change != Change::failed) continue;
    text += fmt::format("FAILED {}: {}\n", row_text(row), printable(row.reason));
    if (!row.reproducer.empty()) text += fmt::format("  again: {}\n", printable(row.reproducer));
  }
  return text;
}

std::string changed_kernels_text(const Comparison& comparison) {
  std::string text;
  for (const ComparedRow& row : comparison.rows)
    if (row.kernel_changed())
      text += fmt::format("* {}: the planner chose {} in A and {} in B\n", row_text(row),
                          printable(row.kernel_a), printable(row.kernel_b));
  return text;
}

std::string not_compared_text(const Comparison& comparison) {
  std::string text;
  for (const ComparedRow& row : comparison.rows)
    if (row.change == Change::not_compared)
      text += fmt::format("not compared: {}: {}\n", row_text(row), printable(row.reason));
  return text;
}

/// A line a device.
std::string means_text(const Comparison& comparison) {
  const auto names = devices(comparison);
  std::string text;
  for (const std::string& device : names) {
    std::vector<std::string> parts;
    for (const MeanRatio& mean : comparison.means)
      if (mean.device == device)
        parts.push_back(
            fmt::format("{} {}", to_string(mean.implementation), ratio_text(mean.ratio)));
    if (parts.empty()) continue;
    text += fmt::format("geometric mean of A / B{}: {}\n",
                        names.size() > 1 ? " on " + printable(device) : "", fmt::join(parts, ", "));
  }
  return text;
}

std::string counts_text(const Comparison& comparison) {
  std::vector<std::string> parts;
  for (const Change change : all_changes())
    parts.push_back(fmt::format("{} {}", comparison.count(change), to_string(change)));
  return fmt::format("{}\nabove 1, B is faster; tolerance +-{} %\n", fmt::join(parts, ", "),
                     short_number(100 * comparison.tolerance, 3));
}

/// With an empty line before it, unless it is empty.
std::string paragraph(const std::string& text) { return text.empty() ? text : "\n" + text; }

}  // namespace

std::string to_text(const Comparison& comparison) {
  std::string text = origin_text("A", comparison.a) + origin_text("B", comparison.b);
  for (const std::string& warning : comparison.warnings)
    text += fmt::format("warning: {}\n", printable(warning));
  const Table table = rows_table(comparison);
  if (!table.rows.empty()) text += paragraph(to_text(table));
  text += paragraph(failures_text(comparison) + changed_kernels_text(comparison) +
                    not_compared_text(comparison));
  text += paragraph(means_text(comparison) + counts_text(comparison));
  return printable_lines(text);
}

}  // namespace metalconv::bench
