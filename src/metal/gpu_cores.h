// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace metalconv::metal {

/// Cores of the GPU, which only the I/O registry tells; 0 when it does not.
int gpu_cores();

}  // namespace metalconv::metal
