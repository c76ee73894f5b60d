// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "gpu/runtime.h"
#include "metalconv/problem.h"

namespace metalconv::metal {

enum class WeightOrder { oihw, hwio };

/// Copies K, C/groups, R, S weights into the order that MPSGraph is told of.
class WeightPacker {
 public:
  WeightPacker(gpu::Runtime& runtime, DType dtype, WeightOrder order);
  /// Enqueues the copy of `problem`'s weights, fewer than 2^31 of them.
  void pack(Queue& queue, const ConvProblem& problem, Memory weights, Memory packed) const;

 private:
  gpu::Runtime& runtime_;
  std::unique_ptr<const gpu::Kernel> kernel_;
};

}  // namespace metalconv::metal
