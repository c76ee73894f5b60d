// SPDX-License-Identifier: Apache-2.0
// How few.cu does one problem. Plain arithmetic, for which no GPU is needed.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/hopper/tiles.h"
#include "metalconv/problem.h"

namespace metalconv::cuda::hopper {

/// Empty, or why the kernel does not do the problem.
std::string few_refusal(const ConvProblem& problem);

/// The problem is one that few_refusal() has nothing against.
Recipe few_recipe(const ConvProblem& problem, std::uint32_t multiprocessors);

}  // namespace metalconv::cuda::hopper
