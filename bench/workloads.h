// SPDX-License-Identifier: Apache-2.0
// Named lists of problems, and the axes that multiply them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metalconv/problem.h"

namespace metalconv::bench {

struct Case {
  std::string name;  ///< short, unique in its workload: "800x600", "k5", "conv2_x.1"
  ConvProblem problem;
};

struct Workload {
  std::string name;
  std::string summary;  ///< one line
  std::vector<Case> cases;
};

/// baseline, kernel-sizes, channels, batches, resnet50, mobilenet-v2, cpu-classes, gpu-classes.
const std::vector<Workload>& workloads();
/// Null when there is none of that name.
const Workload* find_workload(std::string_view name);

/// Values that replace a field of every problem; an empty axis leaves it as it is.
struct Axes {
  std::vector<std::int64_t> batch, channels, outputs, kernel;
  std::vector<Layout> layout;
  std::vector<DType> dtype;
  std::vector<Precision> precision;
};

/// The cases for `targets`, each a workload name or a problem text, multiplied by `axes`. A kernel
/// axis keeps "same" padding when the problem had it; an axis of precisions gives halves no tf32.
/// Throws Error{invalid_argument}.
Workload select(const std::vector<std::string>& targets, const Axes& axes);

}  // namespace metalconv::bench
