// SPDX-License-Identifier: Apache-2.0
// What a kernel here needs for one problem, and how those of conv.cu do it: the tile, where its
// inputs come from, how many parts the reduction has. Plain arithmetic, for which no GPU is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cuda/hopper/params.h"
#include "gpu/runtime.h"
#include "metalconv/problem.h"

namespace metalconv::cuda::hopper {

/// What the units multiply: conv.cu's KIND.
enum class Kind : int { f16, bf16, tf32, f32 };

Kind kind_of(const ConvProblem& problem);

/// Offsets are below it.
inline constexpr std::int64_t kMaxOffset = (std::int64_t(1) << 31) - (1 << 16);

/// The problem's own sizes; the rest is zero.
HopperParams sizes_of(const ConvProblem& problem);

struct Recipe {
  std::vector<const char*> files;  ///< of the kernels, after params.h and numbers.cuh
  std::string prelude;             ///< the text that goes before them
  gpu::Macros macros;              ///< without BIAS and ACTIVATION
  HopperParams params{};           ///< without the alignments
  std::uint32_t threads = 0;
  std::uint32_t groups = 0;       ///< thread blocks
  std::size_t shared_bytes = 0;   ///< of a thread block, dynamic
  std::int64_t packed_bytes = 0;  ///< of the weights
  std::string detail;             ///< in words, for reports
};

/// The function wgmma() for tiles of that many columns: the kernels' text follows it.
std::string wgmma_text(Kind kind, int columns);

/// Empty, or why the kernels do not do the problem.
std::string refusal(const ConvProblem& problem);

/// The recipe with the fewest estimated cycles on a GPU of that many multiprocessors. The problem
/// is one that refusal() has nothing against.
Recipe recipe(const ConvProblem& problem, std::uint32_t multiprocessors);

}  // namespace metalconv::cuda::hopper
