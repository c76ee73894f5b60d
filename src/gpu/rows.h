// SPDX-License-Identifier: Apache-2.0
// The convolution kernels that all GPUs share, one function a row's file.
#pragma once

#include "gpu/conv.h"

namespace metalconv::gpu {

ConvKernel basic_kernel();
ConvKernel direct_kernel();
ConvKernel depthwise_kernel();
ConvKernel matrix_kernel();
ConvKernel matrix_f32_kernel();
ConvKernel general_kernel();
ConvKernel winograd_f2_kernel();
ConvKernel winograd_f4_kernel();
/// The steps from basic to direct, for those who learn. Never chosen by the planner.
std::vector<ConvKernel> ladder_kernels();

/// One thread an output, for any problem: basic's.
Recipe per_output_recipe(const ConvProblem& problem, const Limits& limits);

}  // namespace metalconv::gpu
