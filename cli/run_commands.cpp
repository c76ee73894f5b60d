// SPDX-License-Identifier: Apache-2.0
// bench and verify.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "bench/faults.h"
#include "bench/files.h"
#include "bench/json.h"
#include "bench/report.h"
#include "bench/run.h"
#include "bench/table.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/ending.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/trial.h"
#include "cli/wisdom_file.h"
#include "core/registry.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

struct Outputs {
  std::string json, markdown, html, folder;
  bool no_published = false;

  void add_to(CLI::App& app) {
    app.add_option("--output", folder,
                   "write report.md, report.html and report.json to this folder")
        ->group("Files");
    app.add_option("--json", json, "write the result as JSON to this file")->group("Files");
    app.add_option("--markdown", markdown, "write the report as Markdown")->group("Files");
    app.add_option("--html", html, "write the report as one HTML page")->group("Files");
    app.add_flag("--no-published", no_published, "leave the published numbers out of reports")
        ->group("Files");
  }

  /// Before anything is measured: makes the folder, and throws for what cannot be written.
  void check() const {
    for (const std::string& path : {json, markdown, html})
      if (!path.empty()) bench::check_writable(path);
    if (folder.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error)
      throw Error(ErrorCode::io,
                  fmt::format("the folder '{}' cannot be made: {}", folder, error.message()));
    bench::check_writable((std::filesystem::path(folder) / "report.json").string());
  }

  void write(const bench::Result& result) const {
    const bench::ReportOptions options{!no_published};
    const auto put = [&](const std::string& path, const std::string& text) {
      bench::write_file(path, text);
      fmt::print("wrote {}\n", path);
    };
    std::filesystem::path in(folder);
    if (!folder.empty()) {
      put((in / "report.json").string(), bench::to_json(result));
      put((in / "report.md").string(), bench::to_markdown(result, options));
      put((in / "report.html").string(), bench::to_html(result, options));
    }
    if (!json.empty()) put(json, bench::to_json(result));
    if (!markdown.empty()) put(markdown, bench::to_markdown(result, options));
    if (!html.empty()) put(html, bench::to_html(result, options));
  }
};

struct RunCommand {
  DeviceChoice devices;
  TargetChoice targets;
  Outputs outputs;
  WisdomFile wisdom;
  bench::RunOptions options;
  bool no_trial = false;

  int run(const std::vector<std::string>& default_targets, const std::string& command) {
    const bench::Workload workload = targets.workload(default_targets);
    targets.apply(&options);
    check_inject(workload);
    outputs.check();
    const auto opened = devices.open();
    check_kernel(opened);
    std::vector<Device*> pointers;
    for (const auto& d : opened) pointers.push_back(d.get());
    options.reproduce_flags = devices.flags();
    const Wisdom known = wisdom.read();
    options.wisdom = &known;
    options.shipped = wisdom.shipped();
    if (!no_trial) {
      options.try_vendor = [this](const ConvProblem& p, const KernelRow& row) {
        return try_in_child(devices.flags(), p, row.name);
      };
    }
    options.interrupted = &watch_interrupts();

    const NoiseWatch noise;
    const auto start = std::chrono::steady_clock::now();
    const std::string started = utc_now();
    bench::Result result = with_progress(pointers, workload);
    result.command = command;
    result.started = started;
    result.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    result.machine = machine_block(opened);
    if (planner_chooses()) add_wisdom(result, pointers, known, options.shipped, &result.machine);
    if (options.time) result.warnings = noise.warnings(result);
    fmt::print("{}", bench::terminal_summary(result));
    outputs.write(result);
    return exit_status(result);
  }

 private:
  bench::Result with_progress(const std::vector<Device*>& devices_to_run,
                              const bench::Workload& workload) {
    ProgressLine line;
    options.progress = [&](const bench::Progress& p) { line.show(p); };
    return bench::run(devices_to_run, workload, options);
  }

  bool planner_chooses() const { return !options.every_kernel && options.kernel.empty(); }

  /// A name that no device knows would run nothing, and that would look like success.
  void check_kernel(const std::vector<std::unique_ptr<Device>>& opened) const {
    if (options.kernel.empty()) return;
    std::string known;
    for (const auto& device : opened)
      for (const KernelRow& row : device->registry().rows()) {
        if (row.name == options.kernel) return;
        known += (known.empty() ? "" : ", ") + row.name;
      }
    throw Error(ErrorCode::invalid_argument,
                fmt::format("kernel is '{}', but must be one of {}", options.kernel, known));
  }

  void check_inject(const bench::Workload& workload) const {
    if (options.inject.empty()) return;
    const bench::Fault& fault = bench::find_fault(options.inject);
    for (const bench::Case& c : workload.cases)
      if (const std::string why = fault.no_effect(c.problem); !why.empty())
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("the fault {} would change nothing in {}: {}", fault.name,
                                to_text(c.problem), why));
  }
};

void add_bench(CLI::App& app, const std::string& command_text, int* status) {
  auto c = std::make_shared<RunCommand>();
  CLI::App* command = app.add_subcommand(
      "bench", "verify kernels on workloads or problems, and time those that are right");
  c->targets.add_to(*command);
  c->devices.add_to(*command);
  c->outputs.add_to(*command);
  c->wisdom.add_to(*command);
  auto* m = &c->options.measure;
  command->add_flag("--cold", c->options.cold, "rotate buffers beyond the last-level cache");
  command->add_option("--budget", m->budget_seconds, "seconds for one problem (default: 6)")
      ->check(CLI::Range(0.01, 86400.0));
  command
      ->add_option("--width", m->target_half_width,
                   "stop when the 95 % interval is within +- this part (default: 0.01)")
      ->check(CLI::Range(1e-4, 1.0));
  command->add_option("--samples", m->max_samples, "samples of a kernel at most (default: 60)")
      ->check(CLI::Range(3, 100000));
  command->add_option("--inject", c->options.inject, "a fault behind the optimized kernel");
  command->add_flag("--time-emulator", c->options.force_time, "time devices meant for truth, too");
  command->add_flag("--no-trial", c->no_trial,
                    "do not try vendor kernels in a child process first");
  command->callback([c, command_text, status] { *status = c->run({"baseline"}, command_text); });
}

void add_verify(CLI::App& app, const std::string& command_text, int* status) {
  auto c = std::make_shared<RunCommand>();
  c->options.time = false;
  c->options.every_kernel = true;
  CLI::App* command =
      app.add_subcommand("verify", "check every kernel against the float64 oracle, without timing");
  c->targets.add_to(*command);
  c->devices.add_to(*command);
  c->outputs.add_to(*command);
  c->wisdom.add_to(*command);
  command->add_option("--inject", c->options.inject,
                      "put a fault behind the optimized kernel: the gate must say FAILED");
  command->add_flag("--no-trial", c->no_trial,
                    "do not try vendor kernels in a child process first");
  command->callback([c, command_text, status] {
    const bool inject = !c->options.inject.empty();
    *status = c->run({inject ? to_text(bench::fault_problem()) : "verification"}, command_text);
  });
}

}  // namespace

void add_run_commands(CLI::App& app, int argc, char** argv, int* status) {
  const std::string command_text = command_line(argc, argv);
  add_bench(app, command_text, status);
  add_verify(app, command_text, status);
}

}  // namespace metalconv::cli
