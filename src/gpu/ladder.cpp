// SPDX-License-Identifier: Apache-2.0
// The ladder: each rung changes one thing, says what was expected of it, and is verified and timed
// like any other kernel.
#include <fmt/format.h>

#include <cmath>

#include "gpu/rows.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

struct Rung {
  int number;
  int pixels, rows;  ///< outputs of a thread in each channel
  int block;         ///< output channels whose weights lie together
  const char* summary;
};

// Predictions are for 3 -> 64 channels, 3x3, f32, where basic makes 54 loads for 27 products.
constexpr Rung kRungs[] = {
    {1, 1, 1, 1,
     "a pixel of all K a thread, its window in registers; predicted: 2x basic, half "
     "of the loads are left"},
    {2, 1, 1, 1,
     "and weights in threadgroup memory; predicted: little, a cache served them "
     "before"},
    {3, 4, 1, 1, "and 4 pixels a thread, vector stores; predicted: 3x, a weight serves 4 products"},
    {4, 4, 2, 4,
     "and 2 rows x 4 channels at a time; predicted: the memory's speed, 32 products a "
     "load"},
};
constexpr int kThreads = 128;
constexpr int64_t kWindowRegisters = 96;

std::string refusal(const Rung& rung, const ConvProblem& p) {
  if (p.groups > 1) return fmt::format("groups is {}, the rungs do 1", p.groups);
  if (conv_macros(p).at("INDEX") != "int") return "the rungs count elements in 31 bits";
  const bool plain = p.stride_h * p.stride_w * p.dilation_h * p.dilation_w == 1;
  if (rung.pixels > 1 && !plain)
    return "the windows of neighbours overlap only where stride and dilation are 1";
  const int64_t window = p.C * (p.R + rung.rows - 1) * (p.S + rung.pixels - 1);
  if (window > kWindowRegisters)
    return fmt::format("a thread's window has {} numbers, the rungs keep {} in registers", window,
                       kWindowRegisters);
  return {};
}

Recipe recipe(const Rung& rung, const ConvProblem& p) {
  const std::string name = fmt::format("ladder{}", rung.number);
  Recipe recipe;
  recipe.key = {name + ".metal", name, conv_macros(p)};
  define(recipe.key.macros,
         {{"CHANNELS", p.C}, {"KERNEL_H", p.R}, {"KERNEL_W", p.S}, {"THREADS", kThreads}});
  const int64_t threads = p.N * ceil_div(p.P(), rung.rows) * ceil_div(p.Q(), rung.pixels);
  recipe.shape = {spread(ceil_div(threads, kThreads)), {kThreads}};
  recipe.packing = packing(p, rung.block, 1, false);
  recipe.detail = fmt::format("{} x {} pixels of every channel a thread", rung.rows, rung.pixels);
  return recipe;
}

ConvKernel rung_kernel(const Rung& rung) {
  ConvKernel kernel;
  kernel.name = fmt::format("ladder{}", rung.number);
  kernel.summary = rung.summary;
  kernel.layouts = {Layout::nchw};
  kernel.supports = [&rung](const ConvProblem& p, const Limits&) { return refusal(rung, p); };
  kernel.cost = [](const ConvProblem&, const Limits&) { return HUGE_VAL; };  // never chosen
  kernel.recipe = [&rung](const ConvProblem& p, const Limits&) { return recipe(rung, p); };
  return kernel;
}

}  // namespace

std::vector<ConvKernel> ladder_kernels() {
  std::vector<ConvKernel> kernels;
  for (const Rung& rung : kRungs) kernels.push_back(rung_kernel(rung));
  return kernels;
}

}  // namespace metalconv::gpu
