// SPDX-License-Identifier: Apache-2.0
#include "cuda/vendor.h"

#include <fmt/format.h>

#include <algorithm>

#include "cuda/session.h"
#include "cuda/vendor_search.h"

namespace metalconv::cuda {
namespace {

/// FFT and Winograd engines need it: F(6x6) in f32 was seen to need 40.
constexpr double kErrorBound = 64;
/// Engines are tried on a few outputs, and must stay within half of what the row claims for all.
constexpr double kTrialBound = kErrorBound / 2;
constexpr std::size_t kWorkspaceShare = 4;  // an engine may use this part of the memory

/// Seconds at full speed, of the multiply-adds or of the bytes.
double ideal_seconds(const Context& context, const ConvProblem& problem) {
  const double units = context.attribute(Attribute::multiprocessors);
  const double clock = context.attribute(Attribute::clock_khz) * 1e3;
  const double lanes = problem.dtype == DType::f32 ? 128 : 1024;  // f32 units, matrix units
  const double bytes_a_second = 2.0 * context.attribute(Attribute::memory_clock_khz) * 1e3 *
                                context.attribute(Attribute::memory_bus_bits) / 8;
  return std::max(problem.flops() / (2 * units * clock * lanes),
                  problem.min_bytes() / bytes_a_second);
}

}  // namespace

KernelRow vendor_row(const std::shared_ptr<const Context>& context, gpu::Runtime& runtime,
                     const Places& places) {
  const auto session = std::make_shared<cudnn::Session>(context, places);
  const cudnn::SearchLimits limits{.workspace_bytes = context->memory_bytes() / kWorkspaceShare,
                                   .error_bound = kTrialBound};
  KernelRow row;
  row.name = "cudnn-" + session->api().version();
  row.implementation = Implementation::vendor;
  row.summary = "cuDNN, the fastest measured of all its engines in either layout";
  row.dtypes = {DType::f32, DType::f16};
  if (runtime.limits().bfloat) row.dtypes.push_back(DType::bf16);
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  row.exactness = Exactness::none;
  row.error_bound = kErrorBound;
  row.deterministic = false;
  row.direct_sum = false;
  row.supports = [](const ConvProblem&) { return std::string(); };
  row.cost = [context](const ConvProblem& problem) { return ideal_seconds(*context, problem); };
  row.make = [session, &runtime, limits](const ConvProblem& problem) {
    ConvProblem searched = problem;
    searched.N = std::max<std::int64_t>(problem.N, 1);  // an empty batch never gets to cuDNN
    return cudnn::find_fastest(session, runtime, searched, limits);
  };
  return row;
}

}  // namespace metalconv::cuda
