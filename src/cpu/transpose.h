// SPDX-License-Identifier: Apache-2.0
// Matrices turned around: between planes (NCHW) and pixels with their channels (NHWC).
#pragma once

#include <cstdint>
#include <string_view>

namespace metalconv::cpu {

/// `rows` rows of `columns` floats, `from_step` floats from row to row, become `columns` rows of
/// `rows` floats. Nothing overlaps.
using Transpose = void (*)(const float* from, std::int64_t from_step, std::int64_t rows,
                           std::int64_t columns, float* to, std::int64_t to_step);

Transpose transpose_of(std::string_view isa);

}  // namespace metalconv::cpu
