// SPDX-License-Identifier: Apache-2.0
#include "gpu/rows.h"

namespace metalconv::gpu {

Recipe per_output_recipe(const ConvProblem& problem, const Limits&) {
  constexpr int kThreads = 128;
  Recipe recipe;
  recipe.key = {"basic.metal", "basic", conv_macros(problem)};
  recipe.key.macros["THREADS"] = std::to_string(kThreads);
  recipe.shape = {spread(ceil_div(problem.y_elements(), kThreads)), {kThreads}};
  recipe.packing = packing(problem, 1, 1, false);
  recipe.detail = "one thread an output";
  return recipe;
}

ConvKernel basic_kernel() {
  ConvKernel kernel;
  kernel.name = "basic";
  kernel.implementation = Implementation::basic;
  kernel.summary = "one thread an output, products added one by one";
  kernel.cost = [](const ConvProblem& p, const Limits& l) {
    return estimated_seconds(p, 0.05, l.rates);
  };
  kernel.recipe = per_output_recipe;
  return kernel;
}

}  // namespace metalconv::gpu
