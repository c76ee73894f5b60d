// SPDX-License-Identifier: Apache-2.0
// The rows of matrix.metal: one for halves and tf32, whose factors the matrix units of NVIDIA take
// as they are, and one for f32, where three of their products make one.
#include <fmt/format.h>

#include "gpu/rows.h"
#include "gpu/tiles.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

// The first only for three products: with one, the compiler spills to fit a third threadgroup.
constexpr TileSize kTiles[] = {{128, 64}, {64, 128}};
constexpr int64_t kLeastChannels = 33;  // in fewer, general's narrower tiles waste less

bool exact_in_f32(const ConvProblem& p) {
  return p.dtype == DType::f32 && p.precision == Precision::ieee;
}

std::string refusal(const ConvProblem& p, bool three) {
  if (exact_in_f32(p) != three)
    return three ? "the kernel is for f32 in ieee precision"
                 : "the precision is ieee, the kernel multiplies f32 as tf32";
  if (p.K_per_group() < kLeastChannels)
    return fmt::format("K/groups is {}, the kernel's tiles are for {} or more", p.K_per_group(),
                       kLeastChannels);
  return {};
}

Recipe recipe(const ConvProblem& p, const Limits& limits, bool three) {
  // Multiply-adds of a cycle: what mma.sync m16n8k8 was seen to do on an H100 (tf32, 8 warps).
  constexpr double kRate = 660;
  TiledKernel kernel{{"matrix.metal", "matrix_product", conv_macros(p)},
                     std::span(kTiles).subspan(three ? 0 : 1)};
  kernel.key.macros["TERMS"] = three ? "3" : p.dtype == DType::f32 ? "1" : "0";
  kernel.rate = three ? kRate / 3 : kRate;
  kernel.depth = 16;     // at 8 the compiler spills, to fit one more threadgroup
  kernel.split = three;  // without the epilogue the compiler spills for one product, too
  kernel.pad = 4;
  return tiled_recipe(p, limits, kernel);
}

/// At `efficiency` of the peak for what the tiles make of the problem's channels. Slabs of few
/// input channels cross taps: an H100 ran 3 -> 64 channels, 5x5, at half the speed of `direct`.
double cost(const ConvProblem& p, double efficiency, const Rates& rates) {
  const int64_t channels = p.K_per_group(), tile = 64;
  const double few = p.C_per_group() < 8 ? 0.3 : 1;
  return estimated_seconds(
      p, few * efficiency * double(channels) / double(ceil_div(channels, tile) * tile), rates);
}

ConvKernel make(const char* name, const char* summary, bool three) {
  ConvKernel kernel;
  kernel.name = name;
  kernel.summary = summary;
  if (three) kernel.dtypes = {DType::f32};
  kernel.supports = [=](const ConvProblem& p, const Limits&) { return refusal(p, three); };
  kernel.cost = [=](const ConvProblem& p, const Limits& limits) {
    const Rates& r = limits.rates;
    const bool planes = p.dtype != DType::f32 && p.layout == Layout::nchw;
    return cost(p, three ? r.matrix_f32 : planes ? r.matrix_planes : r.matrix, r);
  };
  kernel.recipe = [=](const ConvProblem& p, const Limits& l) { return recipe(p, l, three); };
  return kernel;
}

}  // namespace

ConvKernel matrix_kernel() {
  return make("matrix", "implicit matrix product on matrix units: f16, bf16, and f32 as tf32",
              false);
}

ConvKernel matrix_f32_kernel() {
  return make("matrix_f32",
              "the same in f32: simdgroup matrices on Apple GPUs, three tf32 products for one on "
              "NVIDIA's",
              true);
}

}  // namespace metalconv::gpu
