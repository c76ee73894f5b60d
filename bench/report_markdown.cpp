// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "bench/findings.h"
#include "bench/groups.h"
#include "bench/published.h"
#include "bench/report.h"
#include "bench/table.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

using std::size_t;
using std::string;

// Two spaces, a label, a value and the bar: 77 columns at most.
constexpr size_t kLabelWidth = 18;
constexpr size_t kValueWidth = 10;
constexpr size_t kBarWidth = 44;
/// When the slowest rows of problems differ by more, each problem has a scale of its own.
constexpr double kOneScale = 40;

string padded(std::string_view text, size_t width, bool right) {
  const string shown = shorten(printable(text), width);
  const string space(width - columns(shown), ' ');
  return right ? space + shown : shown + space;
}

/// `part` of the full width in eighths of a column; never nothing for what is above 0.
string bar(double part) {
  const char* const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int length = std::max(1, int(std::lround(std::clamp(part, 0.0, 1.0) * kBarWidth * 8)));
  string text;
  for (int i = 0; i < length / 8; ++i) text += "█";
  return text + eighths[length % 8];
}

/// A bar with the place of 1x marked, inside or beyond its end.
string factor_bar(double factor, double longest) {
  const auto cells = [&](double value) {
    return size_t(std::lround(value / longest * double(kBarWidth)));
  };
  const size_t length = std::max<size_t>(1, cells(factor)), one = cells(1);
  string text;
  for (size_t i = 0; i < std::max(length, one + 1); ++i)
    text += i == one ? "┃" : i < length ? "█" : " ";
  return text;
}

/// Lines of a bar chart: for each problem its rows on `device`, drawn by `line`.
string bars(const std::vector<Group>& groups, const std::string& device,
            const std::function<string(const Group&, const Row&)>& line) {
  string text = "```text\n";
  for (const Group& group : groups) {
    string lines;
    for (const Row* row : group.rows)
      if (row->device == device) lines += line(group, *row);
    if (!lines.empty()) text += shorten(printable(group.label), 78) + "\n" + lines;
  }
  return text + "```\n";
}

string bar_line(const Row& row, const string& value, const string& drawn) {
  return fmt::format("  {} {} {}\n", padded(line_label(row), kLabelWidth, false),
                     padded(value, kValueWidth, true), drawn);
}

string untimed_line(const Row& row) {
  const string verdict = row.verdict == Verdict::failed    ? "FAILED"
                         : row.verdict == Verdict::skipped ? "skipped"
                                                           : "not timed";
  return fmt::format("  {} {}\n", padded(line_label(row), kLabelWidth, false),
                     padded(verdict, kValueWidth, true));
}

double slowest(const Group& group, const string& device) {
  double us = 0;
  for (const Row* row : group.rows)
    if (row->device == device && is_timed(*row)) us = std::max(us, row->time_us->median);
  return us;
}

bool one_scale(const std::vector<Group>& groups, const string& device) {
  double least = HUGE_VAL, most = 0;
  for (const Group& group : groups)
    if (const double us = slowest(group, device); us > 0)
      least = std::min(least, us), most = std::max(most, us);
  return most <= kOneScale * least;
}

string time_bars(const std::vector<Group>& groups, const string& device) {
  const bool shared = one_scale(groups, device);
  double most = 0;
  for (const Group& group : groups) most = std::max(most, slowest(group, device));
  string text = bars(groups, device, [&](const Group& group, const Row& row) {
    if (!is_timed(row)) return untimed_line(row);
    const double us = row.time_us->median;
    return bar_line(row, time_text(us), bar(us / (shared ? most : slowest(group, device))));
  });
  if (!shared) text += "\nThe problems differ so much that each has its own scale.\n";
  return text;
}

bool has_factors(const std::vector<Group>& groups, const string& device) {
  return std::any_of(groups.begin(), groups.end(), [&](const Group& group) {
    return std::any_of(group.rows.begin(), group.rows.end(), [&](const Row* row) {
      return row->device == device && is_timed(*row) && row->speedup_vs_vendor;
    });
  });
}

string factor_bars(const std::vector<Group>& groups, const string& device) {
  double longest = 1.1;
  for (const Group& group : groups)
    for (const Row* row : group.rows)
      if (row->device == device && is_timed(*row) && row->speedup_vs_vendor)
        longest = std::max(longest, row->speedup_vs_vendor->median);
  return bars(groups, device, [&](const Group&, const Row& row) {
    if (!is_timed(row) || !row.speedup_vs_vendor) return untimed_line(row);
    const double factor = row.speedup_vs_vendor->median;
    return bar_line(row, factor_text(factor), factor_bar(factor, longest));
  });
}

string bullets(const std::vector<string>& sentences) {
  string text;
  for (const string& sentence : sentences) text += "- " + escape_markdown(sentence) + "\n";
  return text;
}

string configuration(const Result& result, const Findings& found) {
  string text = "## Test configuration\n\n| | |\n| --- | --- |\n";
  for (const auto& [key, value] : result.machine)
    text += fmt::format("| {} | {} |\n", escape_markdown(key), escape_markdown(value));
  text += fmt::format("| started | {} |\n", escape_markdown(result.started));
  text += fmt::format("| wall time | {} s |\n\n", significant(result.seconds, 3));
  if (!result.roofs.empty())
    text += "Roofs, measured in this run:\n\n" + to_markdown(roofs_table(result)) + "\n";
  return text + bullets(found.method) + "\n";
}

string warnings(const Result& result) {
  string text;
  if (result.interrupted)
    text += "> **Interrupted:** only the problems completed so far are here.\n";
  for (const string& warning : result.warnings)
    text += fmt::format("> **Warning:** {}\n", escape_markdown(warning));
  // A blank line between quoted lines keeps them apart.
  return text.empty() ? text : text + "\n";
}

string charts(const Result& result) {
  const std::vector<Group> groups = groups_of(result);
  const string by = axis_of(groups).noun;
  string text;
  const auto devices = devices_of(result);
  for (const string& device : devices) {
    const bool timed = std::any_of(groups.begin(), groups.end(),
                                   [&](const Group& group) { return slowest(group, device) > 0; });
    if (!timed) continue;
    const string on = devices.size() > 1 ? " on " + device : "";
    text += fmt::format("## Time by {}{}\n\nShorter is better.\n\n{}\n", by, on,
                        time_bars(groups, device));
    if (has_factors(groups, device))
      text += fmt::format(
          "## Speed-up against the vendor by {}{}\n\ntime(vendor) / time(row): "
          "longer is better, ┃ marks 1x, the fastest verified vendor row.\n\n{}\n",
          by, on, factor_bars(groups, device));
  }
  return text;
}

/// `text` in back-ticks that it cannot end.
string code_block(const string& text) {
  string fence = "```";
  while (text.find(fence) != string::npos) fence += "`";
  return fence + "sh\n" + printable(text) + "\n" + fence + "\n";
}

string failures(const Result& result) {
  string text;
  for (const Row& row : result.rows)
    if (row.verdict == Verdict::failed)
      text += fmt::format("**FAILED** {} on {} ({}): {}\n\n{}\n", escape_markdown(line_label(row)),
                          escape_markdown(row.name), escape_markdown(row.device),
                          escape_markdown(row.reason),
                          row.reproducer.empty() ? "" : code_block(row.reproducer));
  return text;
}

}  // namespace

string to_markdown(const Result& result, const ReportOptions& options) {
  const Findings found = find(result);
  string text = "# " + escape_markdown(found.title) + "\n\n";
  if (!found.headline.empty()) text += "**" + escape_markdown(found.headline) + "**\n\n";
  text += warnings(result) + configuration(result, found);
  text += "## Results\n\n";
  text +=
      result.rows.empty() ? string("No row was completed.\n") : to_markdown(results_table(result));
  text += "\n" + failures(result) + charts(result);
  if (options.with_published && has_published(result))
    text += "## Beside the published numbers\n\n" + to_markdown(published_table(result)) + "\n" +
            bullets(published_notes()) + "\n";
  text += "## Key observations\n\n";
  if (found.observations.empty()) text += "No row was completed.\n\n";
  for (const Topic& topic : found.observations)
    text += "### " + topic.title + "\n\n" + bullets(topic.sentences) + "\n";
  text += "## Conclusions\n\n" + bullets(found.conclusions) + "\n";
  text += "## Next steps\n\n" + bullets(found.next_steps) + "\n";
  if (!result.command.empty()) text += "## Reproduce\n\n" + code_block(result.command);
  return text;
}

}  // namespace metalconv::bench
