// SPDX-License-Identifier: Apache-2.0
// depthwise.metal: what a thread makes.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kMaxWindow = 64;   // columns of a window's row, in registers
constexpr int64_t kUnrolled = 2048;  // multiply-adds of the body, where it is unrolled whole

/// What a thread makes.
struct Block {
  int64_t rows = 1, columns = 1;
  int64_t channels = 1;   ///< neighbours in memory come in one load, which pays most in halves
  int64_t threads = 256;  ///< of a threadgroup
  bool skip = false;      ///< rows outside of the image, by a branch

  int64_t count(const ConvProblem& p) const {
    return p.N * p.K / channels * ceil_div(p.P(), rows) * ceil_div(p.Q(), columns);
  }
  /// Rows and columns of the window, and multiply-adds.
  int64_t window_h(const ConvProblem& p) const {
    return (rows - 1) * p.stride_h + (p.R - 1) * p.dilation_h + 1;
  }
  int64_t window_w(const ConvProblem& p) const {
    return (columns - 1) * p.stride_w + (p.S - 1) * p.dilation_w + 1;
  }
  int64_t work(const ConvProblem& p) const { return rows * columns * channels * p.R * p.S; }

  /// Columns in one load and in one store, in NCHW as many as keep all of them aligned.
  int64_t load(const ConvProblem& p) const {
    return p.layout == Layout::nchw ? std::gcd(std::gcd(p.W, columns * p.stride_w), int64_t(4)) : 1;
  }
  int64_t store(const ConvProblem& p) const {
    return p.layout == Layout::nchw ? std::gcd(std::gcd(p.Q(), columns), int64_t(4)) : 1;
  }
};

/// At most a quarter hangs over the border.
bool covers(int64_t outputs, int64_t block) {
  return ceil_div(outputs, block) * block * 4 <= outputs * 5;
}

/// The first block that fits, whose inputs are read for all outputs that share them: more outputs
/// read less, but there must be threads enough to hide memory behind, and registers for a window.
/// Measured on an H100 beside a dozen others, in f16 and f32, on 3x3 of 112x112 (both 4 x 4), of
/// stride 2 on 56x56 (both 2 x 4), and 5x5 of 7x7 (NHWC 2 x 7, NCHW 7 x 1).
Block choose(const ConvProblem& p, const Limits& limits) {
  struct Shape {
    Block block;
    int64_t stride, window;     // at most
    int64_t threads_of_a_unit;  // that a multiprocessor wants of them
  };
  constexpr Shape kFourChannels[] = {{{4, 4, 4, 64, false}, 1, 6, 128},
                                     {{2, 7, 4, 64, true}, 1, 11, 128},
                                     {{2, 4, 4, 128, true}, 16, 16, 128},
                                     {{2, 2, 4, 128, true}, 16, 16, 128}};
  constexpr Shape kOneChannel[] = {{{4, 4, 1, 128}, 1, 16, 256},
                                   {{2, 4, 1, 128}, 16, 32, 256},
                                   {{7, 1, 1, 256}, 2, 16, 256},
                                   {{4, 1, 1, 256}, 16, 32, 256},
                                   {{2, 1, 1, 256}, 16, 32, 256}};
  const bool four = p.layout == Layout::nhwc && p.K == p.C && p.K % 4 == 0;
  const auto fits = [&](const Shape& shape) {
    const Block& block = shape.block;
    return std::max(p.stride_h, p.stride_w) <= shape.stride &&
           std::max(block.window_h(p), block.window_w(p)) <= shape.window &&
           covers(p.P(), block.rows) && covers(p.Q(), block.columns) &&
           block.work(p) <= kUnrolled &&
           block.count(p) >= shape.threads_of_a_unit * int64_t(limits.compute_units) &&
           // Lanes that are four columns apart read single elements slowly.
           (p.layout == Layout::nhwc || block.columns == 1 || block.load(p) > 1);
  };
  for (const Shape& shape : four ? std::span<const Shape>(kFourChannels) : kOneChannel) {
    if (fits(shape)) return shape.block;
  }
  return {1, 1, four ? 4 : 1, four ? 128 : 256};
}

std::string depthwise_refusal(const ConvProblem& p, const Limits&) {
  if (p.C_per_group() != 1)
    return fmt::format("C/groups is {}, the kernel does one input channel a group",
                       p.C_per_group());
  if (Block().window_w(p) > kMaxWindow)
    return fmt::format(
        "the kernel's {} columns with dilation {} span {}, more than the {} it holds", p.S,
        p.dilation_w, Block().window_w(p), kMaxWindow);
  return {};
}

Recipe depthwise_recipe(const ConvProblem& p, const Limits& limits) {
  const Block block = choose(p, limits);
  const int64_t unroll = block.work(p) <= kUnrolled ? block.window_h(p) : 1;
  Recipe recipe;
  recipe.key = {"depthwise.metal", "depthwise", conv_macros(p)};
  recipe.key.macros.merge(window_macros(p));
  define(recipe.key.macros, {{"PAD_LEFT", p.pad_left},
                             {"CHANNELS", p.C},
                             {"MULTIPLIER", p.K / p.C},
                             {"ROWS", block.rows},
                             {"COLUMNS", block.columns},
                             {"VECTOR", block.channels},
                             {"LOAD_COLUMNS", block.load(p)},
                             {"STORE_COLUMNS", block.store(p)},
                             {"UNROLL", unroll},
                             {"SKIP", block.skip},
                             {"THREADS", block.threads}});
  recipe.shape = {spread(ceil_div(block.count(p), block.threads)), {std::uint32_t(block.threads)}};
  // One block of all channels, or one a channel. To the packing they are outputs of one channel.
  ConvProblem one = p;
  one.groups = one.C = 1;
  recipe.packing = packing(one, p.layout == Layout::nhwc ? p.K : 1, 1, true);
  recipe.detail = fmt::format("{} x {} outputs{} a thread", block.rows, block.columns,
                              block.channels > 1 ? " of 4 channels" : "");
  return recipe;
}

}  // namespace

ConvKernel depthwise_kernel() {
  ConvKernel kernel;
  kernel.name = "depthwise";
  kernel.summary = "one input channel a group: a thread makes a block of a plane, or of four";
  kernel.supports = depthwise_refusal;
  kernel.cost = [](const ConvProblem& p, const Limits& l) {
    return estimated_seconds(p, 0.7, l.rates);
  };
  kernel.recipe = depthwise_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
