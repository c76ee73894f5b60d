// SPDX-License-Identifier: Apache-2.0
#include "gpu/device.h"

#include <fmt/format.h>

#include "cuda/hopper/rows.h"
#include "cuda/runtime.h"
#include "cuda/vendor.h"
#include "metalconv/cuda.h"
#include "metalconv/error.h"

namespace metalconv {

int cuda_device_count() { return cuda::count_devices(cuda::this_process_places()); }

std::unique_ptr<Device> make_cuda_device(const CudaOptions& options) {
  const cuda::Places places = cuda::this_process_places();
  const auto context = std::make_shared<const cuda::Context>(options.ordinal, places);
  gpu::DeviceParts parts;
  parts.runtime = cuda::make_runtime(context, places);
  auto hopper = cuda::hopper::parts(context, places, parts.runtime->limits());
  parts.own = std::move(hopper.rows);
  parts.own_roofs = std::move(hopper.roofs);
  if (options.vendor) {
    try {
      parts.vendor.push_back(cuda::vendor_row(context, *parts.runtime, places));
      parts.facts["vendor"] = parts.vendor.back().name;
    } catch (const Error& error) {
      parts.facts["vendor"] = fmt::format("none ({})", error.what());
    }
  }
  return gpu::make_device(std::move(parts));
}

}  // namespace metalconv
