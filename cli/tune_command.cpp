// SPDX-License-Identifier: Apache-2.0
// tune: measure every kernel of ours on problems, and keep the winners for the planner.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "bench/files.h"
#include "bench/stats.h"
#include "bench/table.h"
#include "bench/text.h"
#include "bench/tune.h"
#include "cli/commands.h"
#include "cli/ending.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/wisdom_file.h"
#include "metalconv/error.h"
#include "version.h"

namespace metalconv::cli {
namespace {

/// Loaded anew each time: another process may have written it. The warning goes to stderr.
void save(const std::string& path, const std::vector<bench::Tuned>& choices) {
  LoadedWisdom loaded = load_wisdom(path);
  bench::record(choices, &loaded.wisdom);
  loaded.wisdom.set_provenance({});  // it is of several runs now
  const std::string kept = save_wisdom(path, loaded.wisdom);
  if (!loaded.warning.empty()) fmt::print(stderr, "metalconv: {}\n", loaded.warning);
  if (!kept.empty()) fmt::print(stderr, "metalconv: it is kept as {}\n", kept);
}

/// How wide the intervals are, and what disturbed the run.
std::string noise_text(const bench::Result& result, const std::vector<std::string>& warnings) {
  std::vector<double> widths;
  for (const bench::Row& row : result.rows)
    if (row.time_us) widths.push_back(100 * bench::relative_half_width(*row.time_us));
  if (widths.empty()) return "nothing was timed";
  std::sort(widths.begin(), widths.end());
  std::string text = fmt::format("95 % intervals of +-{:.1f} % in the median, +-{:.1f} % at most.",
                                 widths[widths.size() / 2], widths.back());
  for (const std::string& warning : warnings) text += " " + warning;
  return text;
}

/// What is to be known of shipped times: the device with its software, and the run.
std::map<std::string, std::string> provenance(const DeviceInfo& info, const std::string& command,
                                              const std::string& noise) {
  auto facts = info.facts;
  facts.erase("vendor");  // none of ours
  facts["device"] = info.model;
  facts["metalconv"] = METALCONV_VERSION;
  facts["date"] = utc_now().substr(0, 10);
  facts["command"] = command;
  facts["noise"] = noise;
  return facts;
}

void print_failures(const bench::Result& result) {
  for (const bench::Row& row : result.rows) {
    if (row.verdict == bench::Verdict::failed)
      fmt::print("FAILED {} on {}: {}\n  again: {}\n", row.kernel, to_text(row.problem), row.reason,
                 row.reproducer);
    if (row.above_roof)
      fmt::print("{} on {} is faster than a roof allows: it is not chosen\n", row.kernel,
                 to_text(row.problem));
  }
}

struct TuneCommand {
  DeviceChoice devices;
  TargetChoice targets;
  WisdomFile wisdom;
  std::string output;
  bench::RunOptions options;

  int run(const std::string& command) {
    const std::string path = output.empty() ? wisdom.path() : output;
    if (path.empty())
      throw Error(ErrorCode::invalid_argument,
                  "there is no place for what is found: name a file with --wisdom");
    const bench::Workload workload = targets.workload({"baseline"});
    const auto opened = devices.open();
    if (!output.empty() && opened.size() != 1)
      throw Error(ErrorCode::invalid_argument, "--output is for one device alone");
    std::vector<Device*> pointers;
    for (const auto& d : opened) pointers.push_back(require_timed(d.get()));
    // What cannot be written is better known before the measuring.
    if (output.empty())
      save(path, {});
    else
      bench::check_writable(output);

    const NoiseWatch noise;
    options.reproduce_flags = devices.flags();
    options.interrupted = &watch_interrupts();
    const bench::Result result = with_progress(pointers, workload);
    const auto choices = bench::choices_of(result, pointers);
    fmt::print("{}", bench::to_text(bench::tuning_table(choices), 100));
    print_failures(result);
    const std::vector<std::string> warnings = noise.warnings(result);
    for (const std::string& warning : warnings) fmt::print("{}\n", warning);
    if (output.empty()) {
      save(path, choices);
    } else {
      Wisdom found;
      bench::record(choices, &found, hardware_key);
      found.set_provenance(
          provenance(opened.front()->info(), command, noise_text(result, warnings)));
      save_wisdom(output, found);
    }
    fmt::print("wrote {} to {}\n", bench::count_text(choices.size(), "choice"), path);
    return exit_status(result);
  }

 private:
  Device* require_timed(Device* device) const {
    if (!device->info().timed && !options.force_time)
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("device is '{}', but its times say nothing of speed", device->info().name));
    return device;
  }

  bench::Result with_progress(const std::vector<Device*>& devices_to_run,
                              const bench::Workload& workload) {
    ProgressLine line;
    options.progress = [&](const bench::Progress& p) { line.show(p); };
    return bench::run(devices_to_run, workload, options);
  }
};

}  // namespace

void add_tune_command(CLI::App& app, int argc, char** argv, int* status) {
  auto c = std::make_shared<TuneCommand>();
  bench::set_for_tuning(&c->options);
  CLI::App* command = app.add_subcommand(
      "tune", "time our kernels on workloads or problems, and keep the winners for the planner");
  c->targets.add_problems_to(*command);
  c->devices.add_to(*command);
  c->wisdom.add_file_to(*command);
  command
      ->add_option("--budget", c->options.measure.budget_seconds,
                   "seconds for one problem (default: 6)")
      ->check(CLI::Range(0.01, 86400.0));
  command
      ->add_option("--within", c->options.within,
                   "leave out kernels whose estimate is above so many times the least (default: 4)")
      ->check(CLI::Range(1.0, 1e9));
  command
      ->add_option("--output", c->output,
                   "write this run's choices alone, with how they came about, for all machines "
                   "with such a device: to be shipped in data/choices")
      ->type_name("FILE")
      ->excludes("--wisdom")
      ->group("Wisdom");
  command->add_flag("--time-emulator", c->options.force_time, "time devices meant for truth, too");
  command->footer(
      "explain, bench and conv go by the winners from then on. A winner within the noise of the\n"
      "estimate's choice changes nothing. Tune again after an update of metalconv.");
  const std::string line = command_line(argc, argv);
  command->callback([c, line, status] { *status = c->run(line); });
}

}  // namespace metalconv::cli
