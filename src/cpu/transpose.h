// SPDX-License-Identifier: Apache-2.0
// Matrices turned around: between planes (NCHW) and pixels with their channels (NHWC).
#pragma once

#include <cstdint>
#include <string_view>

#include "cpu/convert.h"

namespace metalconv::cpu {

/// `rows` rows of `columns` floats, `from_step` floats from row to row, become `columns` rows of
/// `rows` floats. Nothing overlaps.
using Transpose = void (*)(const float* from, std::int64_t from_step, std::int64_t rows,
                           std::int64_t columns, float* to, std::int64_t to_step);

Transpose transpose_of(std::string_view isa);

/// Between planes of one dtype and pixels in f32 that hold their channels. Of each plane `columns`
/// elements, `step` apart; `plane` elements from plane to plane, `pixel` floats from pixel to
/// pixel.
class Turn {
 public:
  static constexpr std::int64_t kPlanes = 16;  ///< that are converted at a time
  Turn(std::string_view isa, DType dtype)
      : convert_(converter(isa, dtype)), transpose_(transpose_of(isa)) {}

  /// Whether there is nothing to convert or to collect: `room` is not touched then, and takes
  /// kPlanes * columns floats otherwise.
  bool straight(std::int64_t step) const { return step == 1 && !convert_.halves(); }
  void to_pixels(const void* planes, std::int64_t plane, std::int64_t channels, std::int64_t step,
                 std::int64_t columns, float* room, float* pixels, std::int64_t pixel) const;
  void to_planes(const float* pixels, std::int64_t pixel, std::int64_t channels, std::int64_t step,
                 std::int64_t columns, float* room, void* planes, std::int64_t plane) const;

 private:
  const Converter& convert_;
  Transpose transpose_;
};

}  // namespace metalconv::cpu
