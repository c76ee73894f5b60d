// SPDX-License-Identifier: Apache-2.0
// What the rows of Winograd's F(2x2, 3x3) and F(4x4, 3x3) have in common.
#pragma once

#include <cstdint>
#include <string>

#include "metalconv/problem.h"

namespace metalconv::gpu {

/// c of the error bound of F(4x4). As on the CPU. The emulator, which multiplies in f32, was seen
/// to have 16.5 units at most on zero-mean data and 8.9 on positive ones, for 64 to 640 channels,
/// both at borders; a model of an H100's matrix units 22, in corners of 1280 positive channels.
inline constexpr double kWinogradF4Bound = 96;

/// Input channels that are packed together, as in the kernels.
inline constexpr std::int64_t kWinogradDepth = 8;

/// Empty, or why they do not do the problem.
std::string winograd_refusal(const ConvProblem& problem);

/// Tiles of side x side outputs of one channel.
std::int64_t winograd_tiles(const ConvProblem& problem, std::int64_t side);

/// Products and the transforms' additions, of what the problem has of tiles and channels.
double winograd_flops(const ConvProblem& problem, std::int64_t side);

}  // namespace metalconv::gpu
