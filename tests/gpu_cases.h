// SPDX-License-Identifier: Apache-2.0
// The problems and kernels that the tests of the GPUs share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/verify.h"
#include "gpu/conv.h"
#include "metalconv/emulator.h"

namespace metalconv::test {

/// Small problems with tails, strides, dilations, padding, groups and epilogues. Every kernel of
/// ours has some of each dtype and layout among them.
const std::vector<ConvProblem>& gpu_problems();

/// The large problems that the kernels are tuned for: what runs on a real GPU.
std::vector<ConvProblem> tuned_problems();

/// Every kernel and macro set that a plan for one of `problems` may compile, packing and roofs
/// included, each once.
std::vector<gpu::KernelKey> kernel_keys(const std::vector<ConvProblem>& problems);

/// "direct.metal direct QUADS=16 ...".
std::string describe(const gpu::KernelKey& key);

/// GPUs as small and as large as tiles can tell: an H100 has 132 multiprocessors.
inline constexpr std::uint32_t kComputeUnits[] = {0, 132};

/// Made once for each choice. Compiled kernels stay from run to run of the tests.
Device& emulator_device(LaneOrder order, std::uint32_t compute_units = 0);

/// What the gate says of a row: empty, or why it fails.
std::string failure_of(Device& device, const KernelRow& row, const ConvProblem& problem,
                       bench::Operands& operands, bench::Checks& checks);

/// Runs every row of ours that takes `problem` through the gate, in each of the orders and with the
/// tiles of each of kComputeUnits. Empty, or one line for each failure.
std::string verify_on_emulator(const ConvProblem& problem, const std::vector<LaneOrder>& orders);

}  // namespace metalconv::test
