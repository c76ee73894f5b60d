// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace metalconv::cpu {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
/// To a multiple of b.
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

constexpr std::int64_t kLine = 16;  ///< floats of a cache line

/// At least n floats and an odd number of cache lines: neighbours at this distance spread over the
/// sets of a cache, where those at a power of two would fall into the same few.
inline std::int64_t spread(std::int64_t n) { return (ceil_div(n, kLine) | 1) * kLine; }

}  // namespace metalconv::cpu
