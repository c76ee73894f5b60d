// SPDX-License-Identifier: Apache-2.0
#include "cuda/hopper/few.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu/conv.h"

namespace metalconv::cuda::hopper {
namespace {

using gpu::ceil_div;
using std::int64_t;

constexpr int64_t kMostChannels = 7;  // with 8 hopper's tiles begin
constexpr int64_t kMostSteps = 32;    // of the reduction: all are unrolled
constexpr int64_t kSharedLimit = 100 << 10;
constexpr int64_t kWarps = 8;

/// few.cu's constants of the same names.
struct Sizes {
  explicit Sizes(const ConvProblem& p)
      : columns(p.K <= 16   ? 16
                : p.K <= 32 ? 32
                            : 64),
        quads(ceil_div(p.S * p.C, 8)),
        steps(ceil_div(p.R * quads, 2)),
        weight_bytes(steps * columns * 32),
        // Short sums are bound by memory, and want many blocks; of long ones two pixels share the
        // weights. An H100 ran 3x3 at 23.6 us with the first and 26.7 with the second, 11x11 at 208
        // and 116. The exponential wants the registers of a block.
        row_tiles(steps <= 3 ? 1 : 2),
        blocks(steps > 3                          ? 2
               : p.activation == Activation::silu ? 3
                                                  : 4),
        // Where there is one output, the stride is not asked for, and may be anything.
        stride_h(p.P() == 1 ? 1 : p.stride_h),
        stride_w(p.Q() == 1 ? 1 : p.stride_w) {
    const int64_t pixel = stride_w * p.C;
    const int64_t pitch = ceil_div((16 * row_tiles - 1) * pixel + quads * 8, 2) * 2;
    const int64_t rows = (kWarps - 1) * stride_h + (p.R - 1) * p.dilation_h + 1;
    const int64_t window_bytes = rows * pitch * 2 * (pixel % 2 + 1);
    shared_bytes = weight_bytes + window_bytes + columns * int64_t(sizeof(float));
  }
  int64_t columns, quads, steps, weight_bytes, row_tiles, blocks, stride_h, stride_w;
  int64_t shared_bytes = 0;
};

/// Whether steps are so long that a window is too large in any case, and Sizes might overflow.
bool reaches_far(const ConvProblem& p) {
  constexpr int64_t kFar = 1 << 10;
  return (p.P() > 1 && p.stride_h >= kFar) || (p.Q() > 1 && p.stride_w >= kFar) ||
         (p.R > 1 && p.dilation_h >= kFar);
}

}  // namespace

std::string few_refusal(const ConvProblem& p) {
  if (p.groups != 1 || p.C > kMostChannels)
    return fmt::format("C is {} in {} groups, but the kernel is for 1 to {} in one", p.C, p.groups,
                       kMostChannels);
  if (p.S > 1 && p.dilation_w > 1)
    return fmt::format("dilation_w is {}, but taps of a row must follow each other", p.dilation_w);
  if (p.R > kMostSteps || p.S > kMostSteps || ceil_div(p.S * p.C, 8) * p.R > 2 * kMostSteps)
    return fmt::format("{} x {} taps of {} channels are more than {} steps of 16", p.R, p.S, p.C,
                       kMostSteps);
  if (reaches_far(p) || Sizes(p).shared_bytes > kSharedLimit)
    return "the inputs under a tile do not fit in shared memory";
  if (p.x_elements() >= kMaxOffset || p.N * p.P() * p.Q() >= kMaxOffset)
    return "the tensors are too large for offsets of 31 bits";
  return {};
}

Recipe few_recipe(const ConvProblem& p, std::uint32_t multiprocessors) {
  const Sizes sizes(p);
  Recipe recipe;
  gpu::define(recipe.macros, {{"KIND", int64_t(kind_of(p))},
                              {"IN_CHANNELS", p.C},
                              {"KERNEL_H", p.R},
                              {"KERNEL_W", p.S},
                              {"STRIDE_H", sizes.stride_h},
                              {"STRIDE_W", sizes.stride_w},
                              {"DILATION_H", p.R == 1 ? 1 : p.dilation_h},
                              {"COLUMNS", sizes.columns},
                              {"ROW_TILES", sizes.row_tiles},
                              {"WARPS", kWarps},
                              {"BLOCKS", sizes.blocks}});
  recipe.files = {"few.cu"};
  HopperParams& params = recipe.params;
  params = sizes_of(p);
  params.blocks = int(ceil_div(p.K, sizes.columns));
  params.cover_h = int(ceil_div(p.P(), kWarps));
  params.cover_w = int(ceil_div(p.Q(), 16 * sizes.row_tiles));
  params.tiles = int(p.N * params.cover_h * params.cover_w);
  params.splits = 1;
  recipe.threads = std::uint32_t(32 * kWarps);
  // As many thread blocks as run at once, a whole number for each block of channels.
  const int64_t most =
      std::max<int64_t>(int64_t(multiprocessors) * sizes.blocks / params.blocks, 1);
  recipe.groups = std::uint32_t(std::min<int64_t>(params.tiles, most) * int64_t(params.blocks));
  recipe.shared_bytes = std::size_t(sizes.shared_bytes);
  recipe.packed_bytes = params.blocks * sizes.weight_bytes;
  recipe.detail = fmt::format("tiles of {} x {} pixels x {} channels, {} steps", kWarps,
                              16 * sizes.row_tiles, sizes.columns, sizes.steps);
  return recipe;
}

}  // namespace metalconv::cuda::hopper
