// SPDX-License-Identifier: Apache-2.0
// The rows of Hopper's own kernels (conv.cu, few.cu), which use units that Metal's language has no
// words for.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/registry.h"
#include "cuda/driver.h"
#include "cuda/hopper/tiles.h"

namespace metalconv::cuda::hopper {

struct Parts {
  std::vector<KernelRow> rows;
  std::function<std::vector<RoofProbe>()> roofs;  ///< of the matrix units, in each type
};

/// Empty where the device is no Hopper. Throws Error{device} when NVRTC is not found.
Parts parts(const std::shared_ptr<const Context>& context, const Places& places,
            const gpu::Limits& limits);

/// c of the error bound for sums that grow in the units over a whole reduction.
inline constexpr double kUnpromotedBound = 64;

/// What NVRTC compiles for a recipe, and for a roof.
gpu::Source source(const Recipe& recipe);
gpu::Source roof_source(Kind kind);
/// Its macros for a problem.
gpu::Macros macros(const Recipe& recipe, const ConvProblem& problem);

}  // namespace metalconv::cuda::hopper
