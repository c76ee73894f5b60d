// SPDX-License-Identifier: Apache-2.0
#include "gpu/conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "gpu/device.h"
#include "metalconv/error.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr std::uint32_t kPackThreads = 128;
constexpr std::uint32_t kSplitThreads = 128;
/// Below this, offsets and what they overshoot by at the last tile fit an int.
constexpr int64_t kMaxIntElements = (int64_t(1) << 31) - (1 << 16);
/// Rows and columns that a tile may lie beyond the last output.
constexpr int64_t kTileSlack = 512;
/// Along x: times 128 threads it fits 32 bits, and fewer than 2^31 outputs need no second row.
constexpr int64_t kMaxGroupsX = int64_t(1) << 24;

int64_t largest_operand(const ConvProblem& p) {
  // Packed weights are padded by a tile of 128 channels and a depth of 16 at most; Winograd's are
  // up to 36 for 9.
  const int64_t taps = p.R == 3 && p.S == 3 ? 36 : p.R * p.S;
  const int64_t packed = (p.K_per_group() + 128) * (p.C_per_group() + 16) * taps * p.groups;
  return std::max({p.x_elements(), p.y_elements(), packed});
}

const char* element_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float";
    case DType::f16:
      return "half";
    case DType::bf16:
      break;
  }
  return "bfloat";
}

std::string index_name(const ConvProblem& p) {
  return largest_operand(p) < kMaxIntElements ? "int" : "long";
}

/// Why an axis cannot be counted in 31 bits, or empty.
std::string axis_refusal(const char* name, int64_t padded, int64_t outputs, int64_t stride) {
  const int64_t last = padded / stride < kMaxIntElements ? (outputs + kTileSlack) * stride : padded;
  if (padded < kMaxIntElements && last < kMaxIntElements) return {};
  return fmt::format("{} with its padding is {}, but the GPU kernels count an axis in 31 bits",
                     name, padded);
}

/// The same convolution, with the least stride that still gives one output where there is one, and
/// 1 for each dilation that makes no difference: fewer kernels to compile, and no numbers beyond 31
/// bits.
ConvProblem simplified(ConvProblem p) {
  if (p.R == 1) p.dilation_h = 1;
  if (p.S == 1) p.dilation_w = 1;
  const auto least = [](int64_t padded, int64_t taps, int64_t dilation) {
    return padded - (taps - 1) * dilation;
  };
  if (p.P() == 1)
    p.stride_h = std::min(p.stride_h, least(p.H + p.pad_top + p.pad_bottom, p.R, p.dilation_h));
  if (p.Q() == 1)
    p.stride_w = std::min(p.stride_w, least(p.W + p.pad_left + p.pad_right, p.S, p.dilation_w));
  return p;
}

/// Of the first element, in elements.
int alignment(const Memory& memory, std::size_t size) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory.address());
  return address % (4 * size) == 0 ? 4 : address % (2 * size) == 0 ? 2 : 1;
}

class GpuConv final : public PreparedConv {
 public:
  GpuConv(const ConvProblem& problem, Recipe recipe, Runtime& runtime, KernelCache& cache)
      : dtype_(problem.dtype),
        bias_(problem.bias),
        outputs_(problem.y_elements()),
        recipe_(std::move(recipe)),
        params_(conv_params(problem)),
        runtime_(runtime),
        pack_(cache.get(recipe_.pack.file.empty() ? pack_key(problem) : recipe_.pack)),
        conv_(cache.get(recipe_.key)),
        split_(recipe_.splits > 1 ? &cache.get(split_key(problem)) : nullptr) {
    params_.splits = int(recipe_.splits);
    const auto threads = recipe_.shape.threads;
    if (threads.count() > conv_.max_threads())
      throw Error(ErrorCode::unsupported,
                  fmt::format("kernel {} may have {} threads in a threadgroup here, but needs {}",
                              conv_.name(), conv_.max_threads(), threads.count()));
  }

  std::size_t packed_bytes() const override {
    return std::size_t(packed_elements(recipe_.packing)) * sizeof(float);
  }

  std::size_t workspace_bytes() const override {
    return split_ ? std::size_t(recipe_.splits * outputs_) * sizeof(float) : 0;
  }

  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    const int64_t threads = ceil_div(packed_elements(recipe_.packing), recipe_.pack_run);
    const Argument arguments[] = {w.memory, packed, constants(recipe_.packing)};
    runtime_.launch(queue, pack_, pack_shape(threads), arguments);
  }

  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    ConvParams params = params_;
    params.x_alignment = alignment(x.memory, size_of(dtype_));
    params.y_alignment =
        split_ ? alignment(workspace, sizeof(float)) : alignment(y.memory, size_of(dtype_));
    // Kernels read no bias where there is none, but Metal wants every buffer bound.
    const Memory b = bias_ ? bias.memory : packed;
    const Memory to = split_ ? workspace : y.memory;
    const Argument arguments[] = {x.memory, packed, b, to, constants(params)};
    runtime_.launch(queue, conv_, recipe_.shape, arguments);
    if (!split_) return;
    const Argument sums[] = {workspace, b, y.memory, constants(params)};
    const LaunchShape shape{spread(ceil_div(outputs_, kSplitThreads)), {kSplitThreads}};
    runtime_.launch(queue, *split_, shape, sums);
  }

  bool handles_are_addresses() const override { return runtime_.handles_are_addresses(); }
  std::string detail() const override { return recipe_.detail; }

 private:
  DType dtype_;
  bool bias_;
  int64_t outputs_;
  Recipe recipe_;
  ConvParams params_;
  Runtime& runtime_;
  const Kernel& pack_;
  const Kernel& conv_;
  const Kernel* split_;
};

}  // namespace

const Kernel& KernelCache::get(const KernelKey& key) {
  return kernels_.get(
      key, [&] { return runtime_.compile(kernel_source(key.file), key.kernel, key.macros); });
}

KernelRow make_row(const ConvKernel& kernel, Runtime& runtime, KernelCache& cache) {
  KernelRow row;
  row.name = kernel.name;
  row.implementation = kernel.implementation;
  row.summary = kernel.summary;
  for (const DType dtype : kernel.dtypes)
    if (dtype != DType::bf16 || runtime.limits().bfloat) row.dtypes.push_back(dtype);
  row.layouts = kernel.layouts;
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  row.supports = [kernel, &runtime](const ConvProblem& given) {
    const ConvProblem problem = simplified(given);
    std::string reason = size_refusal(problem, runtime.limits());
    if (reason.empty() && kernel.supports) reason = kernel.supports(problem, runtime.limits());
    return reason;
  };
  row.exactness = kernel.exactness;
  row.error_bound = kernel.error_bound;
  row.direct_sum = kernel.direct_sum;
  row.executed_flops = kernel.executed_flops;
  row.cost = [cost = kernel.cost, &runtime](const ConvProblem& problem) {
    return cost(problem, runtime.limits());
  };
  row.make = [kernel, &runtime, &cache](const ConvProblem& given) {
    const ConvProblem problem = simplified(given);
    return std::make_unique<const GpuConv>(problem, kernel.recipe(problem, runtime.limits()),
                                           runtime, cache);
  };
  return row;
}

std::string size_refusal(const ConvProblem& given, const Limits& limits) {
  const ConvProblem p = simplified(given);
  std::string reason = axis_refusal("H", p.H + p.pad_top + p.pad_bottom, p.P(), p.stride_h);
  if (reason.empty()) reason = axis_refusal("W", p.W + p.pad_left + p.pad_right, p.Q(), p.stride_w);
  for (const auto& [name, value] : {std::pair("N", p.N), {"C", p.C}, {"K", p.K}})
    if (reason.empty() && value >= kMaxIntElements)
      reason = fmt::format("{} is {}, but the GPU kernels count an axis in 31 bits", name, value);
  if (reason.empty() && p.w_elements() / p.K + 16 * p.R * p.S >= kMaxIntElements)
    reason = fmt::format(
        "an output channel has {} weights, but the GPU kernels count them in 31 "
        "bits",
        p.w_elements() / p.K);
  // A threadgroup makes one output at least, and the plainest has 128 of them.
  if (reason.empty() && p.y_elements() / kMaxGroupsX > int64_t(limits.groups.y))
    reason = fmt::format("the output has {} elements, more than a grid has threadgroups",
                         p.y_elements());
  return reason;
}

ConvParams conv_params(const ConvProblem& p) {
  ConvParams params{};
  params.N = int(p.N), params.C = int(p.C), params.H = int(p.H), params.W = int(p.W);
  params.K = int(p.K), params.P = int(p.P()), params.Q = int(p.Q());
  params.R = int(p.R), params.S = int(p.S);
  params.groups = int(p.groups);
  params.stride_h = int(p.stride_h), params.stride_w = int(p.stride_w);
  params.pad_top = int(p.pad_top), params.pad_left = int(p.pad_left);
  params.dilation_h = int(p.dilation_h), params.dilation_w = int(p.dilation_w);
  return params;
}

KernelKey pack_key(const ConvProblem& problem, const char* kernel) {
  return {std::string(kernel) + ".metal",
          kernel,
          {{"ELEM", element_name(problem.dtype)},
           {"INDEX", index_name(problem)},
           {"THREADS", std::to_string(kPackThreads)}}};
}

LaunchShape pack_shape(int64_t threads) {
  return {spread(ceil_div(threads, kPackThreads)), {kPackThreads}};
}

KernelKey split_key(const ConvProblem& problem) {
  KernelKey key{"split.metal", "split", conv_macros(problem)};
  key.macros["THREADS"] = std::to_string(kSplitThreads);
  return key;
}

Macros conv_macros(const ConvProblem& problem) {
  return {{"ELEM", element_name(problem.dtype)},
          {"INDEX", index_name(problem)},
          {"NHWC", problem.layout == Layout::nhwc ? "1" : "0"},
          {"BIAS", problem.bias ? "1" : "0"},
          {"ACTIVATION", std::to_string(int(problem.activation))}};
}

Macros window_macros(const ConvProblem& problem) {
  Macros macros;
  define(macros, {{"KERNEL_H", problem.R},
                  {"KERNEL_W", problem.S},
                  {"STRIDE_H", problem.stride_h},
                  {"STRIDE_W", problem.stride_w},
                  {"DILATION_H", problem.dilation_h},
                  {"DILATION_W", problem.dilation_w}});
  return macros;
}

void define(Macros& macros, std::initializer_list<std::pair<const char*, int64_t>> numbers) {
  for (const auto& [name, value] : numbers) macros[name] = std::to_string(value);
}

PackParams packing(const ConvProblem& problem, int64_t block, int64_t depth, bool taps_first) {
  PackParams packing{};
  packing.groups = int(problem.groups);
  packing.K = int(problem.K_per_group());
  packing.C = int(problem.C_per_group());
  packing.taps = int(problem.R * problem.S);
  packing.block = int(block);
  packing.padded_channels = int(ceil_div(packing.C, depth) * depth);
  packing.taps_first = taps_first;
  return packing;
}

int64_t packed_elements(const PackParams& p) {
  return p.groups * ceil_div(p.K, p.block) * p.block * p.padded_channels * p.taps;
}

Extent spread(int64_t groups) {
  const int64_t x = std::min(groups, kMaxGroupsX);
  return {std::uint32_t(x), std::uint32_t(groups > 0 ? ceil_div(groups, x) : 1)};
}

double estimated_seconds(const ConvProblem& problem, double efficiency, const Rates& rates) {
  return std::max(problem.flops() / (rates.flops * efficiency), problem.min_bytes() / rates.bytes);
}

}  // namespace metalconv::gpu
