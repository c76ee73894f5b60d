// SPDX-License-Identifier: Apache-2.0
#include "cli/devices.h"

#include <fmt/format.h>

#include <functional>

#include "metalconv/cuda.h"
#include "metalconv/emulator.h"
#include "metalconv/error.h"
#include "metalconv/metal.h"

namespace metalconv::cli {
namespace {

struct Kind {
  std::string name;
  std::function<std::unique_ptr<Device>(const CpuOptions&)> make;
};

/// Best first.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"metal",
       [](const CpuOptions& options) { return make_metal_device({.vendor = options.vendor}); }},
      {"cuda",
       [](const CpuOptions& options) { return make_cuda_device({.vendor = options.vendor}); }},
      {"cpu", [](const CpuOptions& options) { return make_cpu_device(options); }},
      {"emulator", [](const CpuOptions& options) {
         EmulatorOptions emulator;
         emulator.threads = options.threads;
         return make_emulator_device(emulator);
       }}};
  return all;
}

}  // namespace

std::vector<DeviceEntry> find_devices(const CpuOptions& cpu) {
  std::vector<DeviceEntry> found;
  for (const Kind& kind : kinds()) {
    DeviceEntry entry{kind.name, nullptr, {}};
    try {
      entry.device = kind.make(cpu);
    } catch (const Error& e) {
      entry.absence = e.what();
    }
    found.push_back(std::move(entry));
  }
  return found;
}

std::unique_ptr<Device> open_device(const std::string& name, const CpuOptions& cpu) {
  std::string known = "auto", absences;
  for (const Kind& kind : kinds()) {
    known += ", " + kind.name;
    if (name == kind.name) return kind.make(cpu);
    if (name != "auto") continue;
    try {
      auto device = kind.make(cpu);
      if (device->info().timed) return device;
    } catch (const Error& e) {
      absences += fmt::format(" {}: {}.", kind.name, e.what());
    }
  }
  if (name == "auto") throw Error(ErrorCode::device, "no device can be used here." + absences);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("device is '{}', but must be one of {}", name, known));
}

}  // namespace metalconv::cli
