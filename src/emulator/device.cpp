// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"
#include "emulator/runtime.h"
#include "metalconv/emulator.h"

namespace metalconv {

std::unique_ptr<Device> make_emulator_device(const EmulatorOptions& options) {
  emulator::Options runtime;
  runtime.executor.threads = options.threads;
  runtime.executor.order = options.order;
  runtime.executor.seed = options.seed;
  runtime.cache = options.cache;
  runtime.compute_units = options.compute_units;
  runtime.executor.threadgroup_bytes = options.threadgroup_bytes;
  gpu::DeviceParts parts;
  parts.runtime = emulator::make_runtime(runtime);
  parts.facts["purpose"] = "verifies Metal kernels; not timed";
  parts.timed = false;
  return gpu::make_device(std::move(parts));
}

}  // namespace metalconv
