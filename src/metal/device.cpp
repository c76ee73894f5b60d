// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"
#include "metal/runtime.h"
#include "metal/vendor.h"
#include "metalconv/metal.h"

namespace metalconv {

std::unique_ptr<Device> make_metal_device(const MetalOptions& options) {
  gpu::DeviceParts parts;
  parts.runtime = metal::make_runtime();
  if (options.vendor) {
    parts.vendor = metal::vendor_rows(*parts.runtime);
    parts.facts["vendor"] = "MPSGraph";  // of the OS, which has its version
  }
  return gpu::make_device(std::move(parts));
}

}  // namespace metalconv
