// SPDX-License-Identifier: Apache-2.0
// depthwise.metal: what a thread makes.
#include <fmt/format.h>

#include <algorithm>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kMaxWindow = 64;   // rows of a window's column, in registers
constexpr int64_t kUnrolled = 2048;  // multiply-adds of the body, where it is unrolled whole

/// What a thread makes.
struct Block {
  int64_t rows = 1, columns = 1;
  int64_t channels = 1;   ///< neighbours in memory come in one load, which pays most in halves
  int64_t threads = 256;  ///< of a threadgroup

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
};

/// At most so much hangs over the border.
bool covers(int64_t outputs, int64_t block, double over) {
  return double(ceil_div(outputs, block) * block) <= double(outputs) * over;
}

/// In NHWC a block of four channels: each input is read for all outputs that share it. Measured on
/// an H100 beside others, in f16 and f32: 4 x 4 was the fastest of 3x3, 2 x 2 of stride 2. 4 x 4 of
/// 5x5 would spill.
Block square(const ConvProblem& p, const Limits& limits) {
  constexpr int64_t kThreadsPerUnit = 128;  // that a multiprocessor wants
  struct Shape {
    Block block;
    int64_t stride, window;  // at most
  };
  for (const auto& [block, stride, window] :
       {Shape{{4, 4, 4, 64}, 1, 6}, Shape{{4, 2, 4, 128}, 1, 8}, Shape{{2, 2, 4, 128}, 16, 16}}) {
    if (std::max(p.stride_h, p.stride_w) <= stride &&
        std::max(block.window_h(p), block.window_w(p)) <= window &&
        covers(p.P(), block.rows, 1.25) && covers(p.Q(), block.columns, 1.25) &&
        block.work(p) <= kUnrolled &&
        block.count(p) >= kThreadsPerUnit * int64_t(limits.compute_units))
      return block;
  }
  return {1, 1, 4, 128};
}

/// More rows a thread read less, but there must be threads enough to hide memory behind. 7 is for
/// maps of 7, 14 and 28 rows.
Block column(const ConvProblem& p, const Limits& limits) {
  constexpr int64_t kThreadsPerUnit = 512;
  for (const int64_t rows : {8, 7, 4, 2}) {
    const Block block{rows, 1, 1, 256};
    if (covers(p.P(), rows, 1.125) && block.window_h(p) <= kMaxWindow &&
        block.count(p) >= kThreadsPerUnit * int64_t(limits.compute_units))
      return block;
  }
  return {};
}

Block choose(const ConvProblem& p, const Limits& limits) {
  return p.layout == Layout::nhwc && p.K == p.C && p.K % 4 == 0 ? square(p, limits)
                                                                : column(p, limits);
}

std::string depthwise_refusal(const ConvProblem& p, const Limits&) {
  if (p.C_per_group() != 1)
    return fmt::format("C/groups is {}, the kernel does one input channel a group",
                       p.C_per_group());
  if (Block().window_h(p) > kMaxWindow)
    return fmt::format("the kernel's {} rows with dilation {} span {}, more than the {} it holds",
                       p.R, p.dilation_h, Block().window_h(p), kMaxWindow);
  return {};
}

Recipe depthwise_recipe(const ConvProblem& p, const Limits& limits) {
  const Block block = choose(p, limits);
  const int64_t steps = block.columns > 1 ? block.window_w(p) : p.S;
  const int64_t unroll = block.columns > 1 || block.work(p) <= kUnrolled / 2 ? steps : 1;
  Recipe recipe;
  recipe.key = {"depthwise.metal", "depthwise", conv_macros(p)};
  const std::pair<const char*, int64_t> macros[] = {{"KERNEL_H", p.R},
                                                    {"KERNEL_W", p.S},
                                                    {"STRIDE_H", p.stride_h},
                                                    {"STRIDE_W", p.stride_w},
                                                    {"DILATION_H", p.dilation_h},
                                                    {"DILATION_W", p.dilation_w},
                                                    {"CHANNELS", p.C},
                                                    {"MULTIPLIER", p.K / p.C},
                                                    {"ROWS", block.rows},
                                                    {"COLUMNS", block.columns},
                                                    {"VECTOR", block.channels},
                                                    {"UNROLL", unroll},
                                                    {"THREADS", block.threads}};
  for (const auto& [name, value] : macros) recipe.key.macros[name] = std::to_string(value);
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
    return estimated_seconds(p, 0.3, l.rates);
  };
  kernel.recipe = depthwise_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
