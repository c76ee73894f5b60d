// SPDX-License-Identifier: Apache-2.0
#include "bench/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bench/groups.h"
#include "bench/stats.h"
#include "bench/text.h"

namespace metalconv::bench {
namespace {

using std::size_t;

std::vector<size_t> natural_widths(const Table& table) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    size_t width = columns(table.columns[c].header);
    for (const auto& row : table.rows) width = std::max(width, columns(row[c].text));
    widths.push_back(width);
  }
  return widths;
}

/// Take a column at a time from the widest that may be shortened, until the line fits.
void fit(const Table& table, size_t width, std::vector<size_t>* widths) {
  const size_t gaps = table.columns.size() - 1;
  while (std::accumulate(widths->begin(), widths->end(), gaps) > width) {
    size_t* widest = nullptr;
    for (size_t c = 0; c < widths->size(); ++c) {
      size_t& w = (*widths)[c];
      const size_t least = table.columns[c].min_width;
      if (least > 0 && w > least && (!widest || w > *widest)) widest = &w;
    }
    if (!widest) return;
    --*widest;
  }
}

std::string padded(std::string_view text, size_t width, bool right) {
  const std::string shown = shorten(text, width);
  const std::string space(width - columns(shown), ' ');
  return right ? space + shown : shown + space;
}

template <class CellText>
std::string text_line(const Table& table, const std::vector<size_t>& widths, const CellText& cell) {
  std::string line;
  for (size_t c = 0; c < widths.size(); ++c)
    line += (c ? " " : "") + padded(cell(c), widths[c], table.columns[c].numeric);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

// ---- the rows of a run

constexpr double kMillisecond = 1000;

/// All times of a table are in one unit, so that they can be compared at a glance.
bool in_milliseconds(const Result& result) {
  std::vector<double> times;
  for (const Row& row : result.rows)
    if (is_timed(row)) times.push_back(row.time_us->median);
  return !times.empty() && median(times) >= kMillisecond;
}

std::string in_unit(double us, bool milliseconds) {
  return significant(milliseconds ? us / kMillisecond : us, 4);
}

std::string verdict_text(const Row& row) {
  if (row.above_roof) return "ABOVE ROOF";
  if (row.verdict == Verdict::failed) return "FAILED";
  return std::string(to_string(row.verdict));
}

std::string verdict_mark(const Row& row) {
  if (row.verdict == Verdict::failed || row.above_roof) return "bad";
  return row.verdict == Verdict::skipped ? "muted" : "";
}

/// "exact, 0.31": bit for bit on integers, and the worst error as a part of its bound.
std::string verified_text(const Row& row) {
  if (row.verdict != Verdict::ok) return {};
  const std::string ratio = significant(row.verification.worst_ratio, 2);
  return row.verification.exact ? "exact, " + ratio : ratio;
}

template <class Value>
bool any(const Result& result, const Value& value) {
  return std::any_of(result.rows.begin(), result.rows.end(), value);
}

bool has_roof(const Row& row) { return is_timed(row) && row.roofline_percent > 0; }
bool has_speedup(const Row& row) { return is_timed(row) && row.speedup_vs_vendor.has_value(); }

using Cell = Table::Cell;
using CellOf = Cell (*)(const Row&, bool milliseconds);

/// A column of the results with what fills it.
struct Field {
  Table::Column column;
  CellOf cell;
};

Cell name_cell(const Row& row, bool) { return {row.name, "", 0}; }
Cell device_cell(const Row& row, bool) { return {row.device, "", 0}; }
Cell role_cell(const Row& row, bool) { return {std::string(to_string(row.implementation)), "", 0}; }
Cell kernel_cell(const Row& row, bool) { return {row.kernel, "", 0}; }
Cell verdict_cell(const Row& row, bool) { return {verdict_text(row), verdict_mark(row), 0}; }
Cell verified_cell(const Row& row, bool) { return {verified_text(row), "", 0}; }

Cell time_cell(const Row& row, bool milliseconds) {
  if (!is_timed(row)) return {};
  return {in_unit(row.time_us->median, milliseconds), "", 0};
}
Cell time_interval_cell(const Row& row, bool milliseconds) {
  if (!is_timed(row)) return {};
  return {fmt::format("{} ({} to {})", in_unit(row.time_us->median, milliseconds),
                      in_unit(row.time_us->low, milliseconds),
                      in_unit(row.time_us->high, milliseconds)),
          "", 0};
}
Cell half_width_cell(const Row& row, bool) {
  if (!is_timed(row)) return {};
  return {fmt::format("{:.1f}%", 100 * relative_half_width(*row.time_us)), "", 0};
}
Cell gflops_cell(const Row& row, bool) {
  if (!is_timed(row)) return {};
  return {significant(row.gflops, 3), "", 0};
}
Cell roof_cell(const Row& row, bool) {
  if (!has_roof(row)) return {};
  return {percent_text(row.roofline_percent) + ", " + row.bound_by, row.above_roof ? "bad" : "",
          row.roofline_percent};
}
Cell short_roof_cell(const Row& row, bool) {
  if (!has_roof(row)) return {};
  return {fmt::format("{:.0f}%", row.roofline_percent), "", 0};
}
Cell speedup_cell(const Row& row, bool) {
  if (!has_speedup(row)) return {};
  const Interval& s = *row.speedup_vs_vendor;
  const bool itself = s.low == s.high && s.median == 1;
  return {itself ? "1 (reference)" : factor_text(s), s.low > 1 ? "best" : "", 0};
}
Cell short_speedup_cell(const Row& row, bool) {
  if (!has_speedup(row)) return {};
  return {factor_text(row.speedup_vs_vendor->median), "", 0};
}

Table filled(const Result& result, const std::vector<Field>& fields) {
  const bool milliseconds = in_milliseconds(result);
  Table table;
  for (const Field& field : fields) table.columns.push_back(field.column);
  // By problem, as groups_of orders them, not by device.
  for (const Group& group : groups_of(result))
    for (const Row* row : group.rows) {
      auto& cells = table.rows.emplace_back();
      for (const Field& field : fields) cells.push_back(field.cell(*row, milliseconds));
      cells.front().text = group.label;
      for (Cell& cell : cells) cell.text = printable(cell.text);
    }
  return table;
}

/// Blank what the line above says already.
void blank_repeated_names(Table* table) {
  std::string last;
  for (auto& row : table->rows)
    if (row[0].text == last)
      row[0].text.clear();
    else
      last = row[0].text;
}

std::string failures_text(const Result& result) {
  std::string text;
  for (const Row& row : result.rows) {
    if (row.verdict != Verdict::failed) continue;
    text += fmt::format("\nFAILED {} {} {}: {}\n", printable(row.name), row.device, line_label(row),
                        printable(row.reason));
    if (!row.reproducer.empty()) text += fmt::format("  again: {}\n", printable(row.reproducer));
  }
  return text;
}

/// Each reason once, with the rows that were skipped for it.
std::string skips_text(const Result& result) {
  std::vector<std::pair<std::string, int>> reasons;
  for (const Row& row : result.rows) {
    if (row.verdict != Verdict::skipped) continue;
    const std::string reason =
        fmt::format("{} {}: {}", row.device, line_label(row), printable(row.reason));
    const auto found = std::find_if(reasons.begin(), reasons.end(),
                                    [&](const auto& entry) { return entry.first == reason; });
    if (found == reasons.end())
      reasons.emplace_back(reason, 1);
    else
      ++found->second;
  }
  std::string text;
  for (const auto& [reason, count] : reasons)
    text += fmt::format("skipped {}{}\n", reason, count > 1 ? fmt::format(" ({}x)", count) : "");
  return text.empty() ? text : "\n" + text;
}

std::string count_line(const Result& result) {
  const auto count = [&](Verdict v) {
    return std::count_if(result.rows.begin(), result.rows.end(),
                         [&](const Row& row) { return row.verdict == v; });
  };
  std::string text = fmt::format("{} ok, {} failed, {} skipped", count(Verdict::ok),
                                 count(Verdict::failed), count(Verdict::skipped));
  if (result.interrupted) text += "; interrupted, completed problems only";
  if (any(result, [](const Row& row) { return row.above_roof; }))
    text +=
        "\nABOVE ROOF: faster than the roofs measured in this run allow. Those were measured while "
        "the\nmachine was busy, or our counting is wrong: such times count nowhere";
  if (any(result, is_timed))
    text += fmt::format("\n{} buffers; +- is half the 95 % interval{}", result.mode,
                        any(result, has_speedup) ? "; above 1x is faster than the vendor" : "");
  return text;
}

}  // namespace

std::string to_text(const Table& table, size_t width) {
  if (table.columns.empty()) return {};
  std::vector<size_t> widths = natural_widths(table);
  fit(table, width, &widths);
  std::string text = text_line(table, widths, [&](size_t c) { return table.columns[c].header; });
  text += text_line(table, widths, [&](size_t c) { return std::string(widths[c], '-'); });
  for (const auto& row : table.rows)
    text += text_line(table, widths, [&](size_t c) { return row[c].text; });
  return text;
}

std::string to_markdown(const Table& table) {
  std::string text = "|", rule = "|";
  for (const Table::Column& column : table.columns) {
    text += " " + escape_markdown(column.header) + " |";
    rule += column.numeric ? " --: |" : " --- |";
  }
  text += "\n" + rule + "\n";
  for (const auto& row : table.rows) {
    text += "|";
    for (const Table::Cell& cell : row) {
      const bool bold = cell.mark == "bad" || cell.mark == "best";
      const std::string shown = escape_markdown(cell.text);
      text += " " + (bold && !shown.empty() ? "**" + shown + "**" : shown) + " |";
    }
    text += "\n";
  }
  return text;
}

std::string to_html(const Table& table) {
  std::string text = "<div class=\"wide\"><table>\n<thead><tr>";
  const auto align = [&](size_t c) { return table.columns[c].numeric ? "n" : "t"; };
  for (size_t c = 0; c < table.columns.size(); ++c)
    text += fmt::format("<th class=\"{}\" scope=\"col\">{}</th>", align(c),
                        escape_html(table.columns[c].header));
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      const Table::Cell& cell = row[c];
      const std::string shade =
          cell.meter > 0 ? fmt::format(" style=\"--m:{:.0f}%\"", std::min(cell.meter, 100.0)) : "";
      text +=
          fmt::format("<td class=\"{}{}{}{}\"{}>{}</td>", align(c), cell.mark.empty() ? "" : " ",
                      cell.mark, cell.meter > 0 ? " meter" : "", shade, escape_html(cell.text));
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table></div>\n";
}

Table results_table(const Result& result) {
  const std::string unit = in_milliseconds(result) ? "ms" : "us";
  std::vector<Field> fields{{{"problem", false}, name_cell}};
  if (devices_of(result).size() > 1) fields.push_back({{"device", false}, device_cell});
  fields.push_back({{"role", false}, role_cell});
  fields.push_back({{"kernel", false}, kernel_cell});
  fields.push_back({{"verdict", false}, verdict_cell});
  if (any(result, is_timed)) {
    fields.push_back({{"time, " + unit + " (95 %)"}, time_interval_cell});
    fields.push_back({{"GFLOP/s"}, gflops_cell});
  }
  if (any(result, has_roof)) fields.push_back({{"of roofline, bound by"}, roof_cell});
  if (any(result, has_speedup)) fields.push_back({{"vs vendor (95 %)"}, speedup_cell});
  fields.push_back({{"error / bound"}, verified_cell});
  return filled(result, fields);
}

Table roofs_table(const Result& result) {
  Table table;
  table.columns = {{"device", false},     {"roof", false}, {"best rate"},
                   {"median of samples"}, {"working set"}, {"code path", false}};
  for (const Roof& roof : result.roofs)
    table.rows.push_back(
        {{roof.device, "", 0},
         {roof.name, "", 0},
         {rate_text(roof.rate, roof.unit), "", 0},
         {roof.samples.empty() ? "" : rate_text(median(roof.samples), roof.unit), "muted", 0},
         {roof.working_set_bytes > 0 ? bytes_text(roof.working_set_bytes) : "", "", 0},
         {roof.path, "muted", 0}});
  return table;
}

Table summary_table(const Result& result) {
  const std::string unit = in_milliseconds(result) ? "ms" : "us";
  std::vector<Field> fields{{{"problem", false, 9}, name_cell}};
  if (devices_of(result).size() > 1) fields.push_back({{"device", false, 4}, device_cell});
  fields.push_back({{"role", false, 5}, role_cell});
  fields.push_back({{"kernel", false, 7}, kernel_cell});
  if (any(result, is_timed)) {
    fields.push_back({{unit}, time_cell});
    fields.push_back({{"+-"}, half_width_cell});
    fields.push_back({{"GFLOP/s"}, gflops_cell});
  }
  if (any(result, has_roof)) fields.push_back({{"roof"}, short_roof_cell});
  if (any(result, has_speedup)) fields.push_back({{"vs vendor"}, short_speedup_cell});
  if (!any(result, is_timed)) fields.push_back({{"error / bound"}, verified_cell});
  fields.push_back({{"verdict", false}, verdict_cell});
  Table table = filled(result, fields);
  blank_repeated_names(&table);
  return table;
}

std::string terminal_summary(const Result& result) {
  if (result.rows.empty())
    return result.interrupted ? "interrupted before a problem was complete\n" : "nothing was run\n";
  std::string text = to_text(summary_table(result));
  text += failures_text(result) + skips_text(result) + "\n" + count_line(result) + "\n";
  for (const std::string& warning : result.warnings) text += "warning: " + warning + "\n";
  // Names and reasons can come from a file: lines are ours, other control characters are not.
  return printable_lines(text);
}

}  // namespace metalconv::bench
