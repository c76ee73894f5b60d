// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime: shared kernels through NVRTC on the driver API.
#pragma once

#include <memory>

#include "cuda/driver.h"
#include "gpu/runtime.h"

namespace metalconv::cuda {

/// Throws Error{device} when NVRTC is not found.
std::unique_ptr<gpu::Runtime> make_runtime(std::shared_ptr<const Context> context,
                                           const Places& places);

/// The CUstream of a queue that such a runtime made.
Handle stream_of(Queue& queue);

}  // namespace metalconv::cuda
