// SPDX-License-Identifier: Apache-2.0
// devices, list, explain, report: commands that run no benchmark.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "bench/faults.h"
#include "bench/files.h"
#include "bench/json.h"
#include "bench/report.h"
#include "bench/table.h"
#include "bench/workloads.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/trial.h"
#include "cli/wisdom_file.h"
#include "core/registry.h"

namespace metalconv::cli {
namespace {

void print_devices(const CpuOptions& cpu) {
  for (const DeviceEntry& entry : find_devices(cpu)) {
    if (!entry.device) {
      fmt::print("{:9} not here: {}\n", entry.name, entry.absence);
      continue;
    }
    const DeviceInfo& info = entry.device->info();
    fmt::print("{:9} {}, {:.1f} GiB free\n", info.name, info.model,
               double(info.memory_bytes) / 0x1p30);
    for (const auto& [key, value] : info.facts) fmt::print("{:9} {}: {}\n", "", key, value);
  }
}

void print_kernels(const Device& device) {
  fmt::print("\nKernels on {}:\n", device.info().name);
  for (const KernelRow& row : device.registry().rows())
    fmt::print("  {:9} {:13} {}\n", to_string(row.implementation), row.name, row.summary);
}

void print_list(const CpuOptions& cpu) {
  fmt::print("Workloads:\n");
  for (const bench::Workload& w : bench::workloads())
    fmt::print("  {:13} {} ({} problems)\n", w.name, w.summary, w.cases.size());
  for (const DeviceEntry& entry : find_devices(cpu))
    if (entry.device) print_kernels(*entry.device);
  fmt::print("\nFaults for verify --inject:\n");
  for (const bench::Fault& f : bench::faults()) fmt::print("  {:16} {}\n", f.name, f.summary);
}

/// A line a problem, its name and its text; texts hold no blanks.
void print_problems(const std::vector<std::string>& targets) {
  for (const bench::Case& c : bench::select(targets, {}).cases)
    fmt::print("{:13} {}\n", c.name, to_text(c.problem));
}

void print_explanation(Device& device, const ConvProblem& p, const Wisdom& wisdom,
                       std::span<const Wisdom> shipped) {
  fmt::print("{}\n", to_text(p));
  fmt::print("  output {}x{}x{}x{}, {:.4g} GFLOP direct, {:.4g} MB at least\n", p.N, p.K, p.P(),
             p.Q(), p.flops() * 1e-9, p.min_bytes() * 1e-6);
  const DeviceInfo& info = device.info();
  const auto basis = info.facts.find("estimates");
  fmt::print("On {} ({}){}{}:\n", info.name, info.model,
             basis == info.facts.end() ? "" : ", estimates by ",
             basis == info.facts.end() ? "" : basis->second);
  for (const Candidate& c : explain(device, p, &wisdom, shipped)) {
    fmt::print("  {:9} {:13} {}\n", to_string(c.row->implementation), c.row->name, verdict_text(c));
    if (c.chosen && c.row->implementation == Implementation::optimized) {
      const Plan plan = make_plan(device, p, {c.row->implementation, c.row->name});
      fmt::print("  {:23} runs {}; packed weights {} bytes, workspace {} bytes\n", "",
                 plan.detail(), plan.packed_bytes(), plan.workspace_bytes());
    }
  }
}

}  // namespace

std::string verdict_text(const Candidate& c) {
  if (!c.refusal.empty()) return "no: " + c.refusal;
  std::string text = c.chosen ? fmt::format("CHOSEN by {}, ", to_string(c.rule)) : "applies, ";
  if (c.rule == ChoiceRule::shipped) text += measured_text(*c.wisdom) + ", ";
  text += std::isinf(c.cost) ? "only when named" : fmt::format("about {:.3g} ms", c.cost * 1e3);
  if (c.measured_us) text += fmt::format(", measured {:.3g} ms", *c.measured_us * 1e-3);
  return text;
}

void add_devices_command(CLI::App& app) {
  auto cpu = std::make_shared<CpuOptions>();
  CLI::App* command = app.add_subcommand("devices", "the devices of this machine");
  add_cpu_options(*command, *cpu);
  command->callback([cpu] { print_devices(*cpu); });
}

void add_list_command(CLI::App& app) {
  auto cpu = std::make_shared<CpuOptions>();
  auto targets = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("list", "workloads, kernels and faults, by name");
  command->add_option("targets", *targets, "workloads whose problems to list instead");
  add_cpu_options(*command, *cpu);
  command->callback([=] { targets->empty() ? print_list(*cpu) : print_problems(*targets); });
}

void add_explain_command(CLI::App& app) {
  struct Options {
    std::string problem, device = "auto";
    CpuOptions cpu;
    WisdomFile wisdom;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "explain", "which kernels do a problem, why others do not, what is chosen");
  command->add_option("problem", o->problem, "e.g. 1x3x600x800,k64,3x3,p1")->required();
  command->add_option("--device", o->device, "default: the best one here");
  add_cpu_options(*command, o->cpu);
  o->wisdom.add_to(*command);
  command->callback([o] {
    const ConvProblem problem = parse_problem(o->problem);
    print_explanation(*open_device(o->device, o->cpu), problem, o->wisdom.read(),
                      o->wisdom.shipped());
  });
}

void add_report_command(CLI::App& app) {
  struct Options {
    std::string json, markdown, html;
    bool no_published = false;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("report", "make the reports of an earlier run's JSON again");
  command->add_option("json", o->json, "file that bench --json wrote")->required();
  command->add_option("--markdown", o->markdown, "write the Markdown report to this file");
  command->add_option("--html", o->html, "write the HTML report to this file");
  command->add_flag("--no-published", o->no_published, "leave out the published numbers");
  command->callback([o] {
    const bench::Result result = bench::from_json(bench::read_file(o->json));
    const bench::ReportOptions options{!o->no_published};
    if (!o->markdown.empty()) bench::write_file(o->markdown, bench::to_markdown(result, options));
    if (!o->html.empty()) bench::write_file(o->html, bench::to_html(result, options));
    if (o->markdown.empty() && o->html.empty())
      fmt::print("{}", bench::to_markdown(result, options));
  });
}

void add_trial_command(CLI::App& app) {
  struct Options {
    std::string problem, kernel, device = "auto";
    CpuOptions cpu;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(kTrialCommand, "")->group("");  // hidden
  command->add_option("problem", o->problem)->required();
  command->add_option("kernel", o->kernel)->required();
  command->add_option("--device", o->device);
  add_cpu_options(*command, o->cpu);
  command->callback(
      [o] { run_trial(*open_device(o->device, o->cpu), parse_problem(o->problem), o->kernel); });
}

void add_commands(CLI::App& app, int argc, char** argv, int* status) {
  add_run_commands(app, argc, argv, status);
  add_compare_command(app, status);
  add_conv_command(app);
  add_image_command(app, status);
  add_explain_command(app);
  add_ladder_command(app, status);
  add_tune_command(app, argc, argv, status);
  add_devices_command(app);
  add_doctor_command(app, status);
  add_list_command(app);
  add_report_command(app);
  add_trial_command(app);
}

}  // namespace metalconv::cli
