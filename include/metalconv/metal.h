// SPDX-License-Identifier: Apache-2.0
// The Metal device: Apple's GPUs.
#pragma once

#include <memory>

#include "metalconv/device.h"

namespace metalconv {

/// What make_metal_device can be told.
struct MetalOptions {
  bool vendor = true;  ///< offer MPSGraph beside our kernels
};

/// The system's default GPU. `Memory::handle` of its buffers is an MTL::Buffer* (id<MTLBuffer>),
/// and a caller's own buffer may be given in the same way. Throws Error{device} where there is
/// none: another operating system, or a build without metal-cpp.
std::unique_ptr<Device> make_metal_device(const MetalOptions& options = {});

}  // namespace metalconv
