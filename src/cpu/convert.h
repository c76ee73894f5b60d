// SPDX-License-Identifier: Apache-2.0
// f16 and bf16 from and to the f32 that kernels compute in, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "metalconv/problem.h"
#include "metalconv/tensor.h"

namespace metalconv::cpu {

/// Between neighbouring elements of one dtype and floats. Rounds once, to nearest even; NaN stays
/// NaN. Nothing overlaps.
struct Converter {
  std::size_t size;  ///< bytes of an element
  void (*to_f32)(const void* from, float* to, std::int64_t n);
  /// Elements 0, step, 2 * step ... of `from`.
  void (*every)(std::int64_t step, const void* from, float* to, std::int64_t n);
  void (*from_f32)(const float* from, void* to, std::int64_t n);
  /// The same by non-temporal stores where vectors of halves have 16 bytes, but for both ends.
  void (*stream_from_f32)(const float* from, void* to, std::int64_t n);

  /// Whether there is anything to convert.
  bool halves() const { return size == 2; }
  const void* at(const void* data, std::int64_t i) const {
    return static_cast<const std::byte*>(data) + i * std::int64_t(size);
  }
  void* at(void* data, std::int64_t i) const {
    return static_cast<std::byte*>(data) + i * std::int64_t(size);
  }
};

const Converter& converter(std::string_view isa, DType);

/// `rows` rows of n elements; `from_step` and `to_step` elements from row to row.
void rows_to_f32(const Converter&, const void* from, std::int64_t from_step, float* to,
                 std::int64_t to_step, std::int64_t rows, std::int64_t n);
void rows_from_f32(const Converter&, const float* from, std::int64_t from_step, void* to,
                   std::int64_t to_step, std::int64_t rows, std::int64_t n, bool stream);

/// To elements 0, step, 2 * step ... of `to`.
void every_from_f32(const Converter&, const float* from, std::int64_t n, void* to,
                    std::int64_t step);

/// A tensor's elements in f32: in their own memory, or a copy.
class Floats {
 public:
  Floats(const Converter&, const TensorView&, std::int64_t n);
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  const float* data() const { return data_; }

 private:
  std::vector<float> copy_;
  const float* data_;
};

}  // namespace metalconv::cpu
