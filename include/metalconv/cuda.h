// SPDX-License-Identifier: Apache-2.0
// NVIDIA GPUs by CUDA.
#pragma once

#include <memory>

#include "metalconv/device.h"

namespace metalconv {

/// What make_cuda_device can be told.
struct CudaOptions {
  int ordinal = 0;     ///< which of the driver's devices, counted from 0
  bool vendor = true;  ///< look for cuDNN
};

/// Devices that the NVIDIA driver sees; 0 without a driver.
int cuda_device_count();

/// Buffers hold device addresses, and queues are streams of the device's primary context, which
/// PyTorch and the CUDA runtime use, too. The driver, NVRTC and cuDNN are looked for in the folders
/// of the environment variable METALCONV_CUDA_PATH, beside the program, where the loader looks, in
/// CUDA toolkits and in Python environments. Throws Error{device} naming what is missing,
/// Error{invalid_argument} for an ordinal that is too high.
std::unique_ptr<Device> make_cuda_device(const CudaOptions& options = {});

}  // namespace metalconv
