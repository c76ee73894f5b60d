// SPDX-License-Identifier: Apache-2.0
#include "metal/vendor_pack.h"

#include <array>
#include <string>

#include "metal/vendor_kernels.h"

namespace metalconv::metal {
namespace {

constexpr std::uint32_t kThreads = 256;

struct Weights {  // as in vendor_pack.metal
  std::uint32_t K, C, R, S;
};

std::unique_ptr<const gpu::Kernel> compile(gpu::Runtime& runtime, DType dtype, WeightOrder order) {
  const EmbeddedFile& file = vendor_kernels().front();
  const gpu::Source source{"metal/" + std::string(file.name), std::string(file.text)};
  return runtime.compile(source, "vendor_pack",
                         {{"ELEMENT", size_of(dtype) == 4 ? "uint" : "ushort"},
                          {"HWIO", order == WeightOrder::hwio ? "1" : "0"}});
}

}  // namespace

WeightPacker::WeightPacker(gpu::Runtime& runtime, DType dtype, WeightOrder order)
    : runtime_(runtime), kernel_(compile(runtime, dtype, order)) {}

void WeightPacker::pack(Queue& queue, const ConvProblem& problem, Memory weights,
                        Memory packed) const {
  const Weights size{std::uint32_t(problem.K), std::uint32_t(problem.C_per_group()),
                     std::uint32_t(problem.R), std::uint32_t(problem.S)};
  const std::array arguments{gpu::Argument(weights), gpu::Argument(packed), gpu::constants(size)};
  const auto groups = std::uint32_t((problem.w_elements() + kThreads - 1) / kThreads);
  runtime_.launch(queue, *kernel_, {{groups}, {kThreads}}, arguments);
}

}  // namespace metalconv::metal
