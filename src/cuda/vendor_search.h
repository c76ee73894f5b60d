// SPDX-License-Identifier: Apache-2.0
// The fastest way that cuDNN has for a problem, by measuring.
#pragma once

#include <memory>

#include "cuda/session.h"
#include "cuda/vendor_conv.h"
#include "gpu/runtime.h"

namespace metalconv::cuda::cudnn {

struct SearchLimits {
  double seconds = 4;               ///< after it no further engine is tried
  std::size_t workspace_bytes = 0;  ///< of an engine
  double error_bound = 0;           ///< c of the row; an engine beyond it is passed over
};

/// Measures the engines in both layouts, conversions of x and y included in the one that is not the
/// problem's, with bias and activation inside the convolution's graph and in one of their own.
/// Throws Error{unsupported} when cuDNN has no way, Error{too_large} without memory to try.
std::unique_ptr<const PreparedConv> find_fastest(const std::shared_ptr<Session>& session,
                                                 gpu::Runtime& runtime, const ConvProblem& problem,
                                                 const SearchLimits& limits);

}  // namespace metalconv::cuda::cudnn
