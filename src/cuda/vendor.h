// SPDX-License-Identifier: Apache-2.0
// cuDNN as a row of the device's registry.
#pragma once

#include <memory>

#include "core/registry.h"
#include "cuda/driver.h"
#include "gpu/runtime.h"

namespace metalconv::cuda {

/// The row "cudnn-9.x.y". Throws Error{device} when there is no cuDNN; the runtime must outlive it.
KernelRow vendor_row(const std::shared_ptr<const Context>& context, gpu::Runtime& runtime,
                     const Places& places);

}  // namespace metalconv::cuda
