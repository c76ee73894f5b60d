// SPDX-License-Identifier: Apache-2.0
// A convolution problem as cuDNN operation graphs, and the plans that cuDNN's engines make of them.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "cuda/cudnn.h"
#include "metalconv/problem.h"

namespace metalconv::cuda::cudnn {

/// Names of a graph's operands.
enum TensorId : std::int64_t { kX = 1, kW, kBias, kY, kSum };

/// Bytes that every operand's address is a multiple of: engines may read whole vectors.
inline constexpr std::int64_t kAlignment = 16;

/// What one graph computes: all of the problem, or its two halves, which meet in `sum`, the
/// convolution in f32.
enum class Part { whole, convolution, epilogue };

DataType data_type(DType dtype);

/// Strides of a dense N, C, H, W tensor that lies in `layout`; of weights likewise (K for N).
std::array<std::int64_t, 4> strides(const std::array<std::int64_t, 4>& sizes, Layout layout);

/// Sizes of x, w, bias, and of y and sum, in logical order.
std::array<std::int64_t, 4> sizes_of(const ConvProblem& problem, TensorId id);

struct ConvGraph {
  Descriptor graph;
  std::deque<Descriptor> held;     ///< what the graph refers to
  std::vector<TensorId> operands;  ///< what an execution must be given
};

/// Throws Error{device} with cuDNN's words when it does not take such a graph.
ConvGraph make_graph(const Target& target, const ConvProblem& problem, Layout layout, Part part);

/// Whether an engine computes with at least the precision that the problem asks for: under `ieee`
/// no matrix units for f32, and never with narrower inputs or accumulators.
bool is_precise(const ConvProblem& problem, const std::vector<NumericalNote>& notes);

/// An engine with its knobs.
struct EngineConfig {
  Descriptor config;
  std::int64_t engine = 0;
};

/// Every way that cuDNN offers for a graph of `part`, at the problem's precision where it
/// convolves, without repetition: what its heuristics suggest, best first, then every engine with
/// its default knobs.
std::vector<EngineConfig> engine_configs(const Target& target, const ConvGraph& graph,
                                         const ConvProblem& problem, Part part);

/// An engine compiled for the graph, ready to run.
struct EnginePlan {
  Descriptor plan;
  std::size_t workspace_bytes = 0;
};
/// Throws Error{device} when the engine does not do this graph.
EnginePlan make_plan(const Target& target, const EngineConfig& config);

}  // namespace metalconv::cuda::cudnn
