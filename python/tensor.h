// SPDX-License-Identifier: Apache-2.0
// An array of Python's, read through DLPack or the buffer protocol where it lies.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "metalconv/device.h"
#include "metalconv/tensor.h"

namespace metalconv::python {

namespace nb = nanobind;

/// Where memory is: the host, or one of CUDA's devices.
struct Place {
  bool cuda = false;
  int ordinal = 0;

  bool operator==(const Place&) const = default;
};
std::string to_text(const Place&);

/// Keeps the array alive; copies nothing. Sizes are in memory order, so that dense means that the
/// last varies fastest, in either layout.
class Tensor {
 public:
  using Array = nb::ndarray<nb::ro>;

  /// `name` is the argument's, for messages. `bits`: 16-bit integers that are bf16, which NumPy has
  /// no type for. Throws Error for a type, device or order that is not ours.
  Tensor(std::string name, Array array, bool bits);
  /// New, uninitialised; on the host, or on the cuda device given.
  Tensor(Device& device, Place place, const std::vector<std::int64_t>& sizes, DType dtype,
         bool bits);

  DType dtype() const { return dtype_; }
  Place place() const { return place_; }
  const std::vector<std::int64_t>& sizes() const { return sizes_; }
  const void* address() const { return array_.data(); }
  std::size_t bytes() const { return array_.size() * size_of(dtype_); }
  const Array& array() const { return array_; }
  const std::string& name() const { return name_; }

  /// `memory` with these sizes: an activation of 3 sizes is a batch of one, and a bias has 1.
  /// Throws Error where there are others.
  TensorView activation(Memory memory, Layout layout) const;
  TensorView weights(Memory memory) const;
  TensorView bias(Memory memory) const;

 private:
  TensorView dense(Memory memory, std::array<std::int64_t, 4> sizes) const;

  std::string name_;
  Array array_;
  DType dtype_ = DType::f32;
  Place place_;
  std::vector<std::int64_t> sizes_;
};

}  // namespace metalconv::python
