// SPDX-License-Identifier: Apache-2.0
// ladder: the GPU kernels from the plainest to the fastest, one change a rung.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "bench/run.h"
#include "bench/table.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/options.h"
#include "cli/trial.h"
#include "core/registry.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

constexpr const char* kTimedProblem = "1x3x1080x1920,k64,3x3,p1";
constexpr const char* kUntimedProblem = "1x3x24x40,k64,3x3,p1";

bool has_ladder(const Device& device) {
  return device.registry().find(Implementation::optimized, "ladder1") != nullptr;
}

/// The one that was named; else the best one that is timed, or the emulator where that has no
/// ladder.
std::unique_ptr<Device> open_with_ladder(const std::string& name, const CpuOptions& cpu) {
  auto device = open_device(name, cpu);
  if (has_ladder(*device)) return device;
  if (name == "auto") return open_device("emulator", cpu);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("device is '{}', but the ladder is of the GPU kernels: metal, cuda or "
                          "emulator",
                          name));
}

/// Basic, the rungs, what they lead to, and the vendor's line.
bool on_ladder(const bench::Row& row) {
  return row.implementation != Implementation::optimized || row.kernel == "direct" ||
         row.kernel.starts_with("ladder");
}

/// "direct" stands at the top, whatever its place among the rows.
std::vector<const bench::Row*> in_order(const bench::Result& result) {
  std::vector<const bench::Row*> rows;
  for (const bool top : {false, true})
    for (const bench::Row& row : result.rows) {
      const bool is_top = row.kernel == "direct" || row.implementation == Implementation::vendor;
      if (on_ladder(row) && is_top == top) rows.push_back(&row);
    }
  return rows;
}

/// What a row's summary says before and behind "; predicted: ".
std::pair<std::string, std::string> change_and_prediction(const Device& device,
                                                          const bench::Row& row) {
  const KernelRow* kernel = device.registry().find(row.implementation, row.kernel);
  const std::string summary = kernel ? kernel->summary : std::string();
  constexpr std::string_view kMark = "; predicted: ";
  const auto mark = summary.find(kMark);
  if (mark == std::string::npos) return {summary, {}};
  return {summary.substr(0, mark), summary.substr(mark + kMark.size())};
}

bench::Table ladder_table(const Device& device, const bench::Result& result) {
  const auto rows = in_order(result);
  const bool timed = std::any_of(rows.begin(), rows.end(),
                                 [](const bench::Row* row) { return row->time_us.has_value(); });
  bench::Table table;
  table.columns = {{"kernel", false}, {"what it changes", false, 24}, {"predicted", false, 24}};
  if (timed)
    for (const char* header : {"time us", "roofline", "vs basic", "vs vendor"})
      table.columns.push_back({header});
  table.columns.push_back({"verdict", false});
  const double basic = rows.empty() || !rows.front()->time_us ? 0 : rows.front()->time_us->median;
  for (const bench::Row* row : rows) {
    const auto [change, prediction] = change_and_prediction(device, *row);
    std::vector<bench::Table::Cell>& cells = table.rows.emplace_back();
    const auto add = [&](std::string text) { cells.emplace_back().text = std::move(text); };
    add(row->kernel);
    add(change);
    add(prediction);
    if (timed) {
      const auto& time = row->time_us;
      add(time ? fmt::format("{:.1f}", time->median) : "");
      add(time ? fmt::format("{:.0f} %", row->roofline_percent) : "");
      add(time && basic > 0 ? fmt::format("{:.2f}x", basic / time->median) : "");
      const auto& speedup = row->speedup_vs_vendor;
      add(speedup ? fmt::format("{:.2f}x", speedup->median) : "");
    }
    add(std::string(to_string(row->verdict)));
  }
  return table;
}

struct LadderCommand {
  std::string problem, device = "auto";
  CpuOptions cpu;
  bool markdown = false;

  int run() const {
    const auto opened = open_with_ladder(device, cpu);
    const std::string text = !problem.empty()       ? problem
                             : opened->info().timed ? kTimedProblem
                                                    : kUntimedProblem;
    bench::RunOptions options;
    options.every_kernel = true;
    options.try_vendor = [&opened](const ConvProblem& p, const KernelRow& row) {
      return try_in_child(" --device " + opened->info().name, p, row.name);
    };
    const bench::Result result = bench::run({opened.get()}, bench::select({text}, {}), options);
    const bench::Table table = ladder_table(*opened, result);
    fmt::print("{} on {} ({}){}\n\n{}", text, opened->info().name, opened->info().model,
               opened->info().timed ? "" : ": verified, not timed",
               markdown ? bench::to_markdown(table) : bench::to_text(table, 120));
    for (const bench::Row& row : result.rows)
      if (row.verdict == bench::Verdict::failed) return 1;
    return 0;
  }
};

}  // namespace

void add_ladder_command(CLI::App& app, int* status) {
  auto c = std::make_shared<LadderCommand>();
  CLI::App* command = app.add_subcommand(
      "ladder", "the GPU kernels from the plainest to the fastest, one change a rung");
  command->add_option(
      "problem", c->problem,
      fmt::format("a problem (default: {}, or a small one on the emulator)", kTimedProblem));
  command->add_option("--device", c->device,
                      "metal, cuda or emulator (default: the best one here)");
  command->add_flag("--markdown", c->markdown, "print the table as Markdown");
  add_cpu_options(*command, c->cpu);
  command->callback([c, status] { *status = c->run(); });
}

}  // namespace metalconv::cli
