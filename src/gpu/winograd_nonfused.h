// SPDX-License-Identifier: Apache-2.0
// Winograd whose products are a convolution by another kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "gpu/conv.h"

namespace metalconv::gpu {

/// For NCHW and NHWC; its products are done by the optimized row of `registry` that is estimated to
/// be the fastest. The references must outlive it. `most_between` is how many f32 numbers may lie
/// between the passes, else tiles go by chunks: half a gigabyte, not a size of caches, since an
/// H100 gained nothing by chunks that these hold.
KernelRow winograd_nonfused_row(const Registry& registry, Runtime& runtime, KernelCache& cache,
                                std::int64_t most_between = std::int64_t(1) << 27);

/// What it compiles for a problem beside that row's kernels: nothing for one that it refuses.
std::vector<KernelKey> winograd_nonfused_keys(const ConvProblem& problem);

}  // namespace metalconv::gpu
