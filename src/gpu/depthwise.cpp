// SPDX-License-Identifier: Apache-2.0
// depthwise.metal: how many rows a thread makes.
#include <fmt/format.h>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int kThreads = 256;
constexpr int64_t kMaxWindow = 64;        // rows of a window's column, in registers
constexpr int64_t kUnrolled = 1024;       // multiply-adds of the body, where it is unrolled whole
constexpr int64_t kThreadsPerUnit = 512;  // that a multiprocessor wants, to hide memory behind

/// Rows of the window that `rows` outputs read.
int64_t window_rows(const ConvProblem& p, int64_t rows) {
  return (rows - 1) * p.stride_h + (p.R - 1) * p.dilation_h + 1;
}

/// Channels of a thread. Their neighbours in memory come in one load, which pays most in halves.
int64_t vector_of(const ConvProblem& p) {
  return p.layout == Layout::nhwc && p.K == p.C && p.K % 4 == 0 ? 4 : 1;
}

int64_t columns(const ConvProblem& p, int64_t rows) {
  return p.N * p.K / vector_of(p) * ceil_div(p.P(), rows) * p.Q();
}

/// More rows a thread read less; the last ones must not hang over the border by more than an
/// eighth, and there must be threads enough. 7 is for maps of 7, 14 and 28 rows.
int64_t choose_rows(const ConvProblem& p, const Limits& limits) {
  const int64_t most = vector_of(p) > 1 ? kMaxWindow / 4 : kMaxWindow;
  const int64_t threads = vector_of(p) > 1 ? kThreadsPerUnit / 2 : kThreadsPerUnit;
  for (const int64_t rows : {8, 7, 4, 2})
    if (ceil_div(p.P(), rows) * rows * 8 <= p.P() * 9 && window_rows(p, rows) <= most &&
        columns(p, rows) >= threads * int64_t(limits.compute_units))
      return rows;
  return 1;
}

std::string depthwise_refusal(const ConvProblem& p, const Limits&) {
  if (p.C_per_group() != 1)
    return fmt::format("C/groups is {}, the kernel does one input channel a group",
                       p.C_per_group());
  if (window_rows(p, 1) > kMaxWindow)
    return fmt::format("the kernel's {} rows with dilation {} span {}, more than the {} it holds",
                       p.R, p.dilation_h, window_rows(p, 1), kMaxWindow);
  return {};
}

Recipe depthwise_recipe(const ConvProblem& p, const Limits& limits) {
  const int64_t rows = choose_rows(p, limits);
  const int64_t vector = vector_of(p);
  const int64_t unroll = rows * vector * p.R * p.S <= kUnrolled ? p.S : 1;
  Recipe recipe;
  recipe.key = {"depthwise.metal", "depthwise", conv_macros(p)};
  const std::pair<const char*, int64_t> macros[] = {{"KERNEL_H", p.R},
                                                    {"KERNEL_W", p.S},
                                                    {"STRIDE_H", p.stride_h},
                                                    {"STRIDE_W", p.stride_w},
                                                    {"DILATION_H", p.dilation_h},
                                                    {"DILATION_W", p.dilation_w},
                                                    {"ROWS", rows},
                                                    {"UNROLL", unroll},
                                                    {"VECTOR", vector},
                                                    {"THREADS", kThreads}};
  for (const auto& [name, value] : macros) recipe.key.macros[name] = std::to_string(value);
  recipe.shape = {spread(ceil_div(columns(p, rows), kThreads)), {kThreads}};
  // One block of all channels, or one a channel. To the packing they are outputs of one channel.
  ConvProblem one = p;
  one.groups = one.C = 1;
  recipe.packing = packing(one, p.layout == Layout::nhwc ? p.K : 1, 1, true);
  recipe.detail = fmt::format("{} rows of a column{} a thread", rows,
                              vector > 1 ? fmt::format(" of {} channels", vector) : "");
  return recipe;
}

}  // namespace

ConvKernel depthwise_kernel() {
  ConvKernel kernel;
  kernel.name = "depthwise";
  kernel.summary = "one input channel a group: a thread goes down a column of a plane";
  kernel.supports = depthwise_refusal;
  kernel.cost = [](const ConvProblem& p, const Rates& r) { return estimated_seconds(p, 0.3, r); };
  kernel.recipe = depthwise_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
