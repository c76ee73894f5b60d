// SPDX-License-Identifier: Apache-2.0
#include "cuda/conv_graph.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "metalconv/error.h"

namespace metalconv::cuda::cudnn {
namespace {

constexpr std::int64_t kFirstVirtual = 100;  // ids of tensors that exist inside a graph only

class GraphBuilder {
 public:
  GraphBuilder(const Target& target, const ConvProblem& problem, Layout layout)
      : target_(target), problem_(problem), layout_(layout) {}

  ConvGraph build(Part part) {
    const std::vector<Step> steps = steps_of(part);
    const Descriptor* value = part == Part::epilogue ? &operand(kSum) : nullptr;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const bool last = i + 1 == steps.size();
      const Descriptor& output =
          last ? operand(part == Part::convolution ? kSum : kY) : intermediate();
      (this->*steps[i])(value, output);
      value = &output;
    }
    Descriptor graph(api(), DescriptorType::operation_graph);
    target_.enter_graph(graph);
    graph.set(Attribute::graph_operations, operations_);
    graph.finalize();
    for (Descriptor& operation : operations_) held_.push_back(std::move(operation));
    return {std::move(graph), std::move(held_), std::move(operands_)};
  }

 private:
  /// Appends the operation that makes `output` of `value`.
  using Step = void (GraphBuilder::*)(const Descriptor* value, const Descriptor& output);

  std::vector<Step> steps_of(Part part) const {
    std::vector<Step> steps;
    if (part != Part::epilogue) steps.push_back(&GraphBuilder::convolve);
    if (part == Part::convolution) return steps;
    if (problem_.bias) steps.push_back(&GraphBuilder::add_bias);
    if (problem_.activation != Activation::none) steps.push_back(&GraphBuilder::activate);
    return steps;
  }

  const Api& api() const { return target_.api(); }

  Descriptor& hold(DescriptorType type) { return held_.emplace_back(api(), type); }

  const Descriptor& tensor(std::int64_t id, DataType type, const std::array<std::int64_t, 4>& sizes,
                           bool is_virtual) {
    Descriptor& t = hold(DescriptorType::tensor);
    t.set(Attribute::tensor_data_type, type);
    t.set(Attribute::tensor_sizes, sizes);
    t.set(Attribute::tensor_strides, strides(sizes, layout_));
    t.set(Attribute::tensor_id, id);
    t.set(Attribute::tensor_alignment, kAlignment);
    t.set(Attribute::tensor_is_virtual, is_virtual);
    t.finalize();
    return t;
  }
  const Descriptor& operand(TensorId id) {
    operands_.push_back(id);
    const DataType type = id == kSum ? DataType::f32 : data_type(problem_.dtype);
    return tensor(id, type, sizes_of(problem_, id), false);
  }
  const Descriptor& intermediate() {
    return tensor(next_virtual_++, DataType::f32, sizes_of(problem_, kSum), true);
  }

  void convolve(const Descriptor*, const Descriptor& output) {
    const ConvProblem& p = problem_;
    Descriptor& c = hold(DescriptorType::convolution);
    c.set(Attribute::convolution_compute_type, DataType::f32);
    c.set(Attribute::convolution_mode, ConvolutionMode::cross_correlation);
    c.set(Attribute::convolution_spatial_dims, std::int64_t(2));
    c.set(Attribute::convolution_dilations, {p.dilation_h, p.dilation_w});
    c.set(Attribute::convolution_strides, {p.stride_h, p.stride_w});
    c.set(Attribute::convolution_pre_paddings, {p.pad_top, p.pad_left});
    c.set(Attribute::convolution_post_paddings, {p.pad_bottom, p.pad_right});
    c.finalize();
    Descriptor& operation = add(DescriptorType::convolution_forward_operation);
    operation.set(Attribute::forward_convolution, c);
    operation.set(Attribute::forward_x, operand(kX));
    operation.set(Attribute::forward_w, operand(kW));
    operation.set(Attribute::forward_y, output);
    operation.set(Attribute::forward_alpha, 1.0f);
    operation.set(Attribute::forward_beta, 0.0f);
    operation.finalize();
  }

  void add_bias(const Descriptor* value, const Descriptor& output) {
    pointwise(mode(PointwiseMode::add), *value, &operand(kBias), output);
  }

  void activate(const Descriptor* value, const Descriptor& output) {
    const bool swish = problem_.activation == Activation::silu;
    Descriptor& function = mode(swish ? PointwiseMode::swish : PointwiseMode::relu);
    if (swish) function.set(Attribute::pointwise_swish_beta, 1.0);
    if (problem_.activation == Activation::relu6)
      function.set(Attribute::pointwise_upper_clip, 6.0);
    pointwise(function, *value, nullptr, output);
  }

  Descriptor& mode(PointwiseMode value) {
    Descriptor& function = hold(DescriptorType::pointwise);
    function.set(Attribute::pointwise_mode, value);
    function.set(Attribute::pointwise_math_type, DataType::f32);
    return function;
  }

  void pointwise(Descriptor& function, const Descriptor& x, const Descriptor* b,
                 const Descriptor& y) {
    function.finalize();
    Descriptor& operation = add(DescriptorType::pointwise_operation);
    operation.set(Attribute::pointwise_operation_descriptor, function);
    operation.set(Attribute::pointwise_operation_x, x);
    if (b) operation.set(Attribute::pointwise_operation_b, *b);
    operation.set(Attribute::pointwise_operation_y, y);
    operation.finalize();
  }

  Descriptor& add(DescriptorType operation) { return operations_.emplace_back(api(), operation); }

  const Target& target_;
  const ConvProblem& problem_;
  Layout layout_;
  std::int64_t next_virtual_ = kFirstVirtual;
  std::deque<Descriptor> held_;
  std::vector<Descriptor> operations_;
  std::vector<TensorId> operands_;
};

/// Engines, by number, with the values of their knobs: "27 2=5 13=1".
std::string identity(const EngineConfig& candidate) {
  std::string text = std::to_string(candidate.engine);
  const auto knobs = candidate.config.get_descriptors(Attribute::config_knobs,
                                                      DescriptorType::knob_choice, kMaxKnobs);
  for (const Descriptor& knob : knobs)
    text += " " + std::to_string(int(knob.get_knob_type())) + "=" +
            std::to_string(knob.get_int64(Attribute::knob_value));
  return text;
}

class Configs {
 public:
  using Precise = std::function<bool(const std::vector<NumericalNote>&)>;
  Configs(const Target& target, const ConvGraph& graph, Precise precise)
      : target_(target), graph_(graph), precise_(std::move(precise)) {}

  /// What a failing step would have added is left out: cuDNN fails where it has nothing to offer.
  std::vector<EngineConfig> all() {
    for (auto mode :
         {HeuristicMode::a, HeuristicMode::b, HeuristicMode::fallback, HeuristicMode::instant})
      attempt([&] { suggest(mode); });
    std::int64_t engines = 0;
    attempt([&] { engines = graph_.graph.get_int64(Attribute::graph_engine_count); });
    for (std::int64_t i = 0; i < engines; ++i) attempt([&] { add_default(i); });
    return std::move(configs_);
  }

 private:
  template <class Body>
  static void attempt(const Body& body) {
    try {
      body();
    } catch (const Error&) {
      return;
    }
  }

  void suggest(HeuristicMode mode) {
    Descriptor heuristics(target_.api(), DescriptorType::heuristics);
    heuristics.set(Attribute::heuristics_graph, graph_.graph);
    heuristics.set(Attribute::heuristics_mode, mode);
    target_.enter_heuristics(heuristics);
    heuristics.finalize();
    const std::size_t count = heuristics.count(Attribute::heuristics_results);
    for (Descriptor& config : heuristics.get_descriptors(Attribute::heuristics_results,
                                                         DescriptorType::engine_config, count))
      attempt([&] {
        const Descriptor engine =
            config.get_descriptor(Attribute::config_engine, DescriptorType::engine);
        add(std::move(config), engine);
      });
  }

  void add_default(std::int64_t index) {
    Descriptor engine(target_.api(), DescriptorType::engine);
    engine.set(Attribute::engine_graph, graph_.graph);
    engine.set(Attribute::engine_index, index);
    target_.enter_engine(engine);
    engine.finalize();
    Descriptor config(target_.api(), DescriptorType::engine_config);
    config.set(Attribute::config_engine, engine);
    config.finalize();
    add(std::move(config), engine);
  }

  void add(Descriptor config, const Descriptor& engine) {
    if (!precise_(engine.get_notes())) return;
    EngineConfig candidate{std::move(config), engine.get_int64(Attribute::engine_index)};
    if (known_.insert(identity(candidate)).second) configs_.push_back(std::move(candidate));
  }

  const Target& target_;
  const ConvGraph& graph_;
  Precise precise_;
  std::set<std::string> known_;
  std::vector<EngineConfig> configs_;
};

}  // namespace

DataType data_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return DataType::f16;
    case DType::bf16:
      return DataType::bf16;
    case DType::f32:
      break;
  }
  return DataType::f32;
}

std::array<std::int64_t, 4> strides(const std::array<std::int64_t, 4>& sizes, Layout layout) {
  const auto [n, c, h, w] = sizes;
  if (layout == Layout::nchw) return {c * h * w, h * w, w, 1};
  return {h * w * c, 1, w * c, c};
}

std::array<std::int64_t, 4> sizes_of(const ConvProblem& p, TensorId id) {
  switch (id) {
    case kX:
      return {p.N, p.C, p.H, p.W};
    case kW:
      return {p.K, p.C_per_group(), p.R, p.S};
    case kBias:
      return {1, p.K, 1, 1};
    case kY:
    case kSum:
      break;
  }
  return {p.N, p.K, p.P(), p.Q()};
}

bool is_precise(const ConvProblem& problem, const std::vector<NumericalNote>& notes) {
  return std::none_of(notes.begin(), notes.end(), [&](NumericalNote note) {
    switch (note) {
      case NumericalNote::reduced_precision_reduction:
        return true;
      case NumericalNote::down_convert_inputs:
        return problem.dtype == DType::f32;  // to f16: tf32 engines do not carry this note
      case NumericalNote::tensor_core:
        return problem.dtype == DType::f32 && problem.precision == Precision::ieee;
    }
    return false;
  });
}

ConvGraph make_graph(const Target& target, const ConvProblem& problem, Layout layout, Part part) {
  return GraphBuilder(target, problem, layout).build(part);
}

std::vector<EngineConfig> engine_configs(const Target& target, const ConvGraph& graph,
                                         const ConvProblem& problem, Part part) {
  const auto precise = [&](const std::vector<NumericalNote>& notes) {
    return part == Part::epilogue || is_precise(problem, notes);
  };
  return Configs(target, graph, precise).all();
}

EnginePlan make_plan(const Target& target, const EngineConfig& config) {
  Descriptor plan(target.api(), DescriptorType::execution_plan);
  target.enter_plan(plan);
  plan.set(Attribute::plan_config, config.config);
  plan.finalize();
  const std::int64_t bytes = plan.get_int64(Attribute::plan_workspace_bytes);
  return {std::move(plan), std::size_t(std::max<std::int64_t>(bytes, 0))};
}

}  // namespace metalconv::cuda::cudnn
