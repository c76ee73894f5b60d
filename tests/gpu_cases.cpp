// SPDX-License-Identifier: Apache-2.0
#include "gpu_cases.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "bench/verify.h"
#include "conv_cases.h"
#include "gpu/roofs.h"
#include "gpu/turned.h"
#include "gpu/winograd_nonfused.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

constexpr const char* kProblems[] = {
    // direct: window in registers
    "1x3x20x37,k13,3x3,p1",
    "2x3x17x136,k66,3x3,p1,f16,bias,relu",
    "1x3x9x30,k64,3x3,p1,bf16",
    "1x1x9x65,k1,1x1,bias,silu",
    "1x4x11x13,k5,3x3,s2,p1,bf16,relu6",
    "1x2x7x18,k9,3x3,p2,d2,f16",
    "2x3x12x19,k10,3x3,p1,nhwc",
    "1x3x15x16,k64,3x3,p1x0x2x1,nhwc,f16,bias,silu",
    "1x2x10x21,k6,1x3,s1x2,nhwc,bf16,relu",
    "1x3x6x4,k130,1x1,nhwc,relu6",
    "1x3x5x5,k4,5x1,p4x3,d2x1",
    "1x3x6x8,k7,3x3,p1",
    "1x2x13x17,k5,3x3,s2x1,p1,d1x2",
    // direct: rows of the window
    "1x3x19x35,k18,5x5,p2,bias",
    "1x3x16x33,k7,7x7,s2,p3,f16,relu",
    "2x4x18x20,k9,5x5,s1x3,p4,d2,bf16,bias",
    "1x3x33x31,k17,11x11,p5,silu",
    "1x2x3x3,k4,7x7,p3",
    "1x3x21x19,k6,5x5,s1x2,p2,d1x2,f16",
    "1x3x14x17,k21,7x5,p3x2,nhwc,bias,relu6",
    "1x3x20x22,k36,5x5,p2,nhwc,f16",
    "1x4x25x12,k8,11x3,s3x1,p5x1,nhwc,bf16",
    // general: tiles of 64, 32 and 16 channels, depths
    "2x16x9x11,k67,3x3,p1,bias",
    "1x33x7x7,k35,1x1,f16,silu",
    "3x5x3x3,k12,3x3,p1,bf16,relu",
    "1x8x12x13,k16,5x5,s3,p2,d1x2,g2",
    "2x20x6x5,k64,3x3,s2x1,p1,nhwc,bias,relu6",
    "1x24x1x50,k8,1x5,p0x2,nhwc,f16",
    "1x6x50x1,k18,5x1,p2x0,g2,nhwc,bf16,bias",
    "1x3x40x37,k16,3x3,d15",
    // general: thin groups
    "3x12x10x9,k12,3x3,p1,g12,relu",
    "1x10x9x9,k20,3x3,s2,p1,g10,f16,bias",
    "2x5x11x13,k10,3x3,p2,d2,g5,nhwc,bf16",
    "1x9x8x7,k9,7x7,s3x2,p3,g9,nhwc",
    // general: reductions in parts, slabs across taps, thin groups of several channels
    "1x96x5x6,k40,3x3,p1,bias,relu",
    "1x160x3x3,k33,3x3,p1,nhwc,f16,bias,silu",
    "2x128x4x4,k20,1x1,bf16,bias",
    "1x18x9x8,k24,3x3,p1,nhwc,bias",
    "1x16x9x9,k16,3x3,p1,g4,bias",
    "1x12x7x7,k160,3x3,p1",
    "1x17x18x19,k150,3x3,p1,nhwc,s2,d2",
    // matrix: halves and tf32; three products; tails of both tiles, groups, reductions in parts
    "1x24x9x7,k70,3x3,p1,f16,bias,relu",
    "1x20x6x11,k34,3x3,s2,p1,bf16,nhwc,bias,silu",
    "2x16x5x13,k80,1x1,g2,f16,nhwc,bias",
    "1x9x8x9,k40,3x3,p1,d2,bf16",
    "1x20x9x14,k130,3x3,p1,tf32,bias",
    "1x160x3x4,k64,3x3,p1,nhwc,tf32,relu6",
    "1x36x9x15,k72,3x3,p1,bias,relu",
    "1x96x4x5,k48,3x3,p1,nhwc,bias,silu",
    // winograd_f2 where the planner takes it: each block of channels, dilations, groups, parts
    "1x17x8x16,k10,3x3,p1,d2x1,nhwc",
    "1x40x8x15,k40,3x3,p1,g2,bias,relu6",
    "1x24x7x16,k64,3x3,p1,relu",
    "1x48x7x16,k48,3x3,p1,nhwc,bias,silu",
    // winograd_f4 where it does, no tile over the border; dilations, groups, parts, borders
    "1x24x16x32,k40,3x3,p1,relu",
    "2x16x16x16,k32,3x3,p1,nhwc,bias,silu",
    "1x19x16x32,k32,3x3,p2,d2,bias,relu6",
    "2x34x8x8,k70,3x3,p2x1,d2x1,g2,nhwc",
    "1x80x16x12,k40,3x3,p1,bias,relu",
    "3x17x5x6,k37,3x3,p0x1x1x0",
    "1x33x9x11,k34,3x3,p1x0x3x2,d3,nhwc,bias",
    // depthwise: rows of a column, multipliers, one row a thread, large kernels
    "2x6x30x17,k6,5x3,s1x2,p2,d2x3,g6,bf16,bias,silu",
    "1x5x33x9,k15,3x3,s2x1,p1x0x2x1,g5,nhwc,f16,bias,relu6",
    "2x8x7x7,k8,5x5,p2,g8,nhwc,bf16",
    "2x12x9x10,k12,3x3,s2x1,p1,g12,nhwc,f16,bias,silu",
    "1x2x19x23,k4,17x17,p8,g2",
    "1x1x9x9,k3,3x3,p1,nhwc",
    // nothing to do, a single output, strides and dilations that do not matter
    "0x3x8x8,k4,3x3,p1",
    "1x3x8x8,k4,3x3,s6",
    "1x8x9x8,k40,3x3,s9x2,nhwc",
    "1x4x8x8,k4,3x3,s100,g4",
    "1x3x5x5,k3,5x5",
    "1x7x1x1,k70,1x1,s1000000,d1000000",
};

std::vector<ConvProblem> parsed() {
  std::vector<ConvProblem> problems;
  for (const char* text : kProblems) problems.push_back(parse_problem(text));
  return problems;
}

/// CUDA's for the large GPU, Metal's for the small one.
std::size_t threadgroup_bytes(std::uint32_t compute_units) {
  return compute_units >= 132 ? 49152 : 32768;
}

gpu::Limits limits(std::uint32_t compute_units) {
  gpu::Limits limits;
  limits.compute_units = compute_units;
  limits.threadgroup_bytes = threadgroup_bytes(compute_units);
  return limits;
}

bool takes(const gpu::ConvKernel& kernel, const ConvProblem& problem) {
  const auto& layouts = kernel.layouts;
  return std::find(layouts.begin(), layouts.end(), problem.layout) != layouts.end() &&
         (!kernel.supports || kernel.supports(problem, gpu::Limits{}).empty());
}

const char* name_of(LaneOrder order) {
  return order == LaneOrder::forward    ? "forward"
         : order == LaneOrder::reversed ? "reversed"
                                        : "shuffled";
}

}  // namespace

const std::vector<ConvProblem>& gpu_problems() {
  static const std::vector<ConvProblem> problems = parsed();
  return problems;
}

std::vector<ConvProblem> tuned_problems() {
  std::vector<ConvProblem> problems;
  for (const char* text :
       {"1x3x600x800,k64,3x3,p1", "1x3x1080x1920,k64,3x3,p1", "1x3x768x1024,k64,1x1",
        "1x3x768x1024,k64,5x5,p2", "1x3x768x1024,k64,7x7,p3", "1x3x768x1024,k64,11x11,p5",
        "1x64x56x56,k64,3x3,p1", "1x3x224x224,k64,7x7,s2,p3", "32x32x112x112,k32,3x3,p1,g32"})
    problems.push_back(parse_problem(text));
  // The first again in every dtype and layout.
  for (const Layout layout : {Layout::nchw, Layout::nhwc})
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      problems.push_back(problems.front());
      problems.back().layout = layout;
      problems.back().dtype = dtype;
    }
  for (const char* text : {"1x128x256x256,k128,3x3,p1", "1x128x256x256,k128,3x3,p1,nhwc",
                           "1x128x256x256,k128,3x3,p1,f16,nhwc", "1x512x32x32,k512,3x3,p1,tf32",
                           "1x128x255x255,k128,3x3,p1", "1x128x255x255,k128,3x3,p1,nhwc"})
    problems.push_back(parse_problem(text));
  // More than 2^31 elements.
  problems.push_back(parse_problem("1x3x8192x8192,k64,3x3,p1"));
  problems.push_back(parse_problem("1x64x8192x8192,k64,3x3,p1"));
  problems.push_back(parse_problem("1x64x8191x8192,k64,3x3,p1"));
  return problems;
}

std::vector<gpu::KernelKey> kernel_keys(const std::vector<ConvProblem>& problems) {
  std::set<gpu::KernelKey> keys;
  for (const ConvProblem& problem : problems) {
    keys.insert(gpu::pack_key(problem));
    keys.insert(gpu::turn_key(problem));
    for (const gpu::KernelKey& key : gpu::winograd_nonfused_keys(problem)) keys.insert(key);
    for (const std::uint32_t units : kComputeUnits) {
      const gpu::Limits device = limits(units);
      double least = HUGE_VAL;  // of those that the planner may choose there, or tuning near it
      for (const gpu::ConvKernel& kernel : gpu::conv_kernels())
        if (kernel.implementation == Implementation::optimized && takes(kernel, problem))
          least = std::min(least, kernel.cost(problem, device));
      for (const gpu::ConvKernel& kernel : gpu::conv_kernels()) {
        const double cost = kernel.cost(problem, device);
        const bool may_run = kernel.implementation == Implementation::basic ||
                             cost <= 1.5 * least || cost == HUGE_VAL;
        if (!may_run || !takes(kernel, problem)) continue;
        const gpu::Recipe recipe = kernel.recipe(problem, device);
        keys.insert(recipe.key);
        if (!recipe.pack.file.empty()) keys.insert(recipe.pack);
        if (recipe.splits > 1) keys.insert(gpu::split_key(problem));
      }
    }
  }
  for (const gpu::KernelKey& key : gpu::roof_keys()) keys.insert(key);
  return {keys.begin(), keys.end()};
}

std::string describe(const gpu::KernelKey& key) {
  std::string text = key.file + " " + key.kernel;
  for (const auto& [name, value] : key.macros) text += fmt::format(" {}={}", name, value);
  return text;
}

Device& emulator_device(LaneOrder order, std::uint32_t compute_units) {
  static std::map<std::pair<LaneOrder, std::uint32_t>, std::unique_ptr<Device>> devices;
  auto& device = devices[{order, compute_units}];
  if (!device) {
    EmulatorOptions options;
    options.order = order;
    options.threads = 2;
    options.compute_units = compute_units;
    options.threadgroup_bytes = threadgroup_bytes(compute_units);
    options.cache = fmt::format("{}metalconv_gpu_test_{}", testing::TempDir(), getuid());
    device = make_emulator_device(options);
  }
  return *device;
}

std::string failure_of(Device& device, const KernelRow& row, const ConvProblem& problem,
                       bench::Operands& operands, bench::Checks& checks) {
  try {
    const auto queue = device.make_queue();
    bench::Subject subject(device, *queue,
                           make_plan(device, problem, {row.implementation, row.name}), operands);
    return bench::verify(subject, checks).failure;
  } catch (const Error& error) {
    return error.what();
  }
}

std::string verify_on_emulator(const ConvProblem& problem, const std::vector<LaneOrder>& orders) {
  std::string failures;
  bench::Checks checks(problem);
  std::set<std::string> seen;  // what does not depend on the size of the GPU runs once
  for (const std::uint32_t units : kComputeUnits) {
    std::set<std::string> now;
    for (const LaneOrder order : orders) {
      Device& device = emulator_device(order, units);
      bench::Operands operands(device, problem);
      for (const KernelRow* row : our_rows(device)) {
        if (!row->refusal(problem).empty()) continue;
        const std::string what =
            row->name + ", " +
            make_plan(device, problem, {row->implementation, row->name}).detail();
        now.insert(what);
        if (seen.count(what)) continue;
        const std::string failure = failure_of(device, *row, problem, operands, checks);
        if (!failure.empty())
          failures +=
              fmt::format("{} {}, lanes {}: {}\n", to_text(problem), what, name_of(order), failure);
      }
    }
    seen.merge(now);
  }
  return failures;
}

}  // namespace metalconv::test
