// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/format.h>

#include "cli/devices.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

/// Every value of an axis must make a valid problem; the problem says so, but a name is clearer
/// here.
template <class T>
CLI::Option* add_axis(CLI::App& app, const std::string& name, std::vector<T>& values,
                      const std::string& help) {
  return app.add_option(name, values, help)->delimiter(',')->group("Axes (they multiply)");
}

}  // namespace

void add_cpu_options(CLI::App& app, CpuOptions& options) {
  app.add_option("--threads", options.threads, "threads of the cpu device (default: all)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--isa", options.isa,
                 "instruction set of the cpu device (default: the best here)");
  app.add_flag_callback(
      "--no-vendor", [&options] { options.vendor = false; }, "do not look for vendor libraries");
}

void DeviceChoice::add_to(CLI::App& app) {
  app.add_option("--device", names, "devices, e.g. cpu (default: the best one here)")
      ->delimiter(',');
  add_cpu_options(app, cpu);
}

std::vector<std::unique_ptr<Device>> DeviceChoice::open() const {
  std::vector<std::unique_ptr<Device>> devices;
  for (const std::string& name : names) devices.push_back(open_device(name, cpu));
  return devices;
}

std::string DeviceChoice::flags() const {
  std::string flags;
  if (cpu.threads > 0) flags += fmt::format(" --threads {}", cpu.threads);
  if (!cpu.isa.empty()) flags += fmt::format(" --isa {}", cpu.isa);
  return flags;
}

void TargetChoice::add_problems_to(CLI::App& app) {
  app.add_option("targets", targets,
                 "workloads (see `metalconv list`) or problems like 1x3x600x800,k64,3x3,p1");
  add_axis(app, "--batch", axes.batch, "batch sizes N, e.g. 1,8");
  add_axis(app, "--channels", axes.channels, "input channels C");
  add_axis(app, "--outputs", axes.outputs, "output channels K");
  add_axis(app, "--kernel", axes.kernel, "square kernels, e.g. 3,5 (same padding stays same)");
  add_axis(app, "--layout", layouts, "nchw,nhwc");
  add_axis(app, "--dtype", dtypes, "f32,f16,bf16");
  add_axis(app, "--precision", precisions, "ieee,tf32 (f32 alone)");
}

void TargetChoice::add_to(CLI::App& app) {
  add_problems_to(app);
  app.add_option("--implementation", implementations, "basic, optimized, vendor (default: all)")
      ->delimiter(',');
  app.add_option("--only", kernel, "only kernels (registry rows) of this name");
  app.add_flag("--every-kernel", every_kernel,
               "every kernel that applies, not only the chosen one");
}

bench::Workload TargetChoice::workload(const std::vector<std::string>& fallback) const {
  bench::Axes all = axes;
  for (const std::string& l : layouts) all.layout.push_back(parse_layout(l));
  for (const std::string& d : dtypes) all.dtype.push_back(parse_dtype(d));
  for (const std::string& p : precisions) all.precision.push_back(parse_precision(p));
  return bench::select(targets.empty() ? fallback : targets, all);
}

void TargetChoice::apply(bench::RunOptions* options) const {
  for (const std::string& i : implementations)
    options->implementations.push_back(parse_implementation(i));
  options->kernel = kernel;
  options->every_kernel |= every_kernel;  // verify wants every one anyway
}

}  // namespace metalconv::cli
