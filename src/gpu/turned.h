// SPDX-License-Identifier: Apache-2.0
// NCHW by kernels of NHWC: x and y are turned around on their way.
#pragma once

#include "gpu/conv.h"

namespace metalconv::gpu {

/// `row`, which does NHWC, for NCHW, too: turn.metal brings x into the workspace, pixel by pixel,
/// and y back from there. Bit for bit what `row` gives in NHWC. The references must outlive it.
KernelRow with_nchw(KernelRow row, Runtime& runtime, KernelCache& cache);

/// What turns tensors of this problem's dtype and size.
KernelKey turn_key(const ConvProblem& problem);

}  // namespace metalconv::gpu
