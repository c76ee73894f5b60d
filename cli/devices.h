// SPDX-License-Identifier: Apache-2.0
// The one place that knows all devices and puts them together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "metalconv/cpu.h"
#include "metalconv/device.h"

namespace metalconv::cli {

/// A kind of device, present on this machine or not.
struct DeviceEntry {
  std::string name;
  std::unique_ptr<Device> device;  ///< null when it is not here
  std::string absence;             ///< why it is not here
};

/// All kinds that the product knows, best first.
std::vector<DeviceEntry> find_devices(const CpuOptions& cpu);

/// The device of that name; "auto" is the best one that is timed. Throws Error{invalid_argument}
/// for an unknown name, Error{device} with the reason when it is not here.
std::unique_ptr<Device> open_device(const std::string& name, const CpuOptions& cpu = {});

}  // namespace metalconv::cli
