// SPDX-License-Identifier: Apache-2.0
// Apple's own convolution, MPSGraph.
#pragma once

#include <vector>

#include "core/registry.h"
#include "gpu/runtime.h"

namespace metalconv::metal {

/// Rows that run on a runtime that make_runtime() made, which must outlive them.
std::vector<KernelRow> vendor_rows(gpu::Runtime& runtime);

}  // namespace metalconv::metal
