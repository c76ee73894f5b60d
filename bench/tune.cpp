// SPDX-License-Identifier: Apache-2.0
#include "bench/tune.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/groups.h"
#include "bench/text.h"
#include "core/registry.h"

namespace metalconv::bench {
namespace {

/// A time that a roof forbids is an error in our counting and chooses nothing.
bool counts(const Row& row) { return is_timed(row) && !row.above_roof; }

bool overlap(const Interval& a, const Interval& b) { return a.low <= b.high && b.low <= a.high; }

std::string estimated_kernel(Device& device, const ConvProblem& problem) {
  for (const Candidate& c : explain(device, problem, nullptr, {}))
    if (c.chosen && c.row->implementation == Implementation::optimized) return c.row->name;
  return {};
}

Tuned choice_of(const Group& group, Device& device) {
  Tuned tuned;
  tuned.label = group.label;
  tuned.problem = group.problem;
  tuned.device = &device;
  tuned.estimate = estimated_kernel(device, group.problem);
  for (const Row* row : group.rows) {
    if (row->device != device.info().name || row->implementation != Implementation::optimized)
      continue;
    tuned.rows.push_back(row);
    if (row->kernel == tuned.estimate && counts(*row)) tuned.estimated = row;
  }
  tuned.winner = fastest(group, device.info().name, Implementation::optimized);
  if (tuned.estimated && overlap(*tuned.estimated->time_us, *tuned.winner->time_us))
    tuned.winner = tuned.estimated;
  return tuned;
}

/// The verdicts of a problem that has no winner.
std::string why_none(const Tuned& t) {
  std::vector<std::string> verdicts;
  for (const Row* row : t.rows)
    verdicts.push_back(fmt::format(
        "{} {}", row->kernel,
        row->verdict == Verdict::ok ? "not timed" : std::string(to_string(row->verdict))));
  return list_text(verdicts);
}

std::string estimate_text(const Tuned& t) {
  const auto failed = [&](const Row* row) {
    return row->kernel == t.estimate && row->verdict == Verdict::failed;
  };
  return t.estimate + (std::any_of(t.rows.begin(), t.rows.end(), failed) ? " FAILED" : "");
}

}  // namespace

void set_for_tuning(RunOptions* options) {
  options->implementations = {Implementation::optimized};
  options->every_kernel = true;
  options->within = 4;
  options->compile_ahead = true;
  options->effort = 1.0 / 16;
}

std::optional<double> Tuned::gain_percent() const {
  if (!winner || !estimated) return std::nullopt;
  return 100 * (1 - winner->time_us->median / estimated->time_us->median);
}

std::vector<Tuned> choices_of(const Result& result, const std::vector<Device*>& devices) {
  std::vector<Tuned> choices;
  for (const Group& group : groups_of(result))
    for (Device* device : devices)
      if (Tuned tuned = choice_of(group, *device); !tuned.rows.empty())
        choices.push_back(std::move(tuned));
  return choices;
}

void record(const std::vector<Tuned>& choices, Wisdom* wisdom, MachineKey* key) {
  for (const Tuned& t : choices) {
    WisdomEntry entry{key(t.device->info()), to_text(t.problem), {}, {}};
    if (!t.winner) {
      wisdom->forget(entry.machine, entry.problem);
      continue;
    }
    entry.kernel = t.winner->kernel;
    for (const Row* row : t.rows)
      if (counts(*row)) entry.times_us[row->kernel] = row->time_us->median;
    wisdom->record(std::move(entry));
  }
}

Table tuning_table(const std::vector<Tuned>& choices) {
  Table table;
  table.columns = {{"problem", false, 16},
                   {"device", false},
                   {"by estimate", false},
                   {"time"},
                   {"by measurement", false},
                   {"time"},
                   {"gain"}};
  for (const Tuned& t : choices) {
    std::vector<Table::Cell>& cells = table.rows.emplace_back();
    const auto add = [&](std::string text) { cells.emplace_back().text = std::move(text); };
    const auto time = [](const Row* row) { return row ? time_text(row->time_us->median) : ""; };
    add(t.label);
    add(t.device->info().name);
    add(estimate_text(t));
    add(time(t.estimated));
    add(t.winner ? t.winner->kernel : why_none(t));
    add(time(t.winner));
    add(t.gain_percent() ? fmt::format("{:.1f} %", *t.gain_percent()) : "");
  }
  return table;
}

}  // namespace metalconv::bench
