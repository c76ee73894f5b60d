// SPDX-License-Identifier: Apache-2.0
// doctor: what is here, whether it works, and how to mend what does not.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "bench/files.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "cli/wisdom_file.h"
#include "cpu/system.h"
#include "cuda/compiler.h"
#include "image/picture.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

constexpr double kSpinSeconds = 1;

void append(std::vector<Finding> more, std::vector<Finding>* all) {
  std::move(more.begin(), more.end(), std::back_inserter(*all));
}

/// What some commands need and others do not.
std::vector<Finding> examine_tools() {
  const auto library = [](const char* name, const std::string& version, const char* package) {
    if (!version.empty()) return Finding{"Tools", name, Health::ok, version, {}};
    return Finding{"Tools", name, Health::absent, fmt::format("image knows no {}", name),
                   fmt::format("{}, and build again", package)};
  };
  std::vector<Finding> findings{
      library("PNG", image::png_library(), "apt-get install libpng-dev (brew: libpng)"),
      library("JPEG", image::jpeg_library(),
              "apt-get install libturbojpeg0-dev (brew: jpeg-turbo)")};
  try {
    const cuda::Compiler nvrtc(cuda::this_process_places(), 13000);
    findings.push_back({"Tools",
                        "NVRTC",
                        Health::ok,
                        fmt::format("{}.{}, which compiles kernels for cuda",
                                    nvrtc.version() / 1000, nvrtc.version() % 1000 / 10),
                        {}});
  } catch (const Error& e) {
    findings.push_back({"Tools", "NVRTC", Health::absent, e.what(), {}});
  }
  return findings;
}

struct DoctorCommand {
  std::string json;
  CpuOptions cpu;
  WisdomFile wisdom;

  int run() const {
    const NoiseWatch watch;
    const std::vector<DeviceEntry> devices = find_devices(cpu);
    Examination seen;
    seen.machine = machine_block({});
    const auto best = std::find_if(devices.begin(), devices.end(), [](const DeviceEntry& d) {
      return d.device && d.device->info().timed;
    });
    if (best != devices.end()) seen.device = best->name;
    append(examine_devices(devices), &seen.findings);
    append(examine_processor(), &seen.findings);
    append(examine_settings(), &seen.findings);
    seen.findings.push_back(judge(measure_unevenness(cpu::usable_threads(), kSpinSeconds)));
    for (const std::string& warning : watch.warnings({}))
      seen.findings.push_back({"Noise", "others", Health::note, warning, {}});
    const std::string file = wisdom.path();
    seen.findings.push_back(
        examine_wisdom(file, file.empty() ? LoadedWisdom{} : load_wisdom(file), devices));
    append(examine_tools(), &seen.findings);
    fmt::print("{}", to_text(seen));
    if (!json.empty()) {
      bench::write_file(json, to_json(seen));
      fmt::print("wrote {}\n", json);
    }
    return exit_status(seen);
  }
};

}  // namespace

void add_doctor_command(CLI::App& app, int* status) {
  auto c = std::make_shared<DoctorCommand>();
  CLI::App* command =
      app.add_subcommand("doctor", "what is here, whether it works, and how to mend what does not");
  command->add_option("--json", c->json, "write the findings as JSON to this file");
  add_cpu_options(*command, c->cpu);
  c->wisdom.add_to(*command);
  command->footer(
      "Takes some seconds: each device computes a small problem, and the noise of the machine is\n"
      "measured for one. ok: works. note: could be better. --: not here. BAD: cannot be used.\n"
      "Exit status: 0, 1 when a device computes wrongly (WRONG), 2 when none can be used.");
  command->callback([c, status] { *status = c->run(); });
}

}  // namespace metalconv::cli
