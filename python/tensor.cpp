// SPDX-License-Identifier: Apache-2.0
#include "tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "metalconv/error.h"

namespace metalconv::python {
namespace {

using nb::dlpack::dtype_code;

[[noreturn]] void refuse(const std::string& name, const std::string& rule) {
  throw Error(ErrorCode::invalid_argument, fmt::format("{} {}", name, rule));
}

nb::dlpack::dtype to_dlpack(DType dtype, bool bits) {
  const auto code =
      dtype == DType::bf16 ? (bits ? dtype_code::UInt : dtype_code::Bfloat) : dtype_code::Float;
  return {std::uint8_t(code), std::uint8_t(8 * size_of(dtype)), 1};
}

DType dtype_of(const std::string& name, nb::dlpack::dtype given, bool bits) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    if (given == to_dlpack(dtype, bits && dtype == DType::bf16)) return dtype;
  static constexpr const char* kKinds[] = {"int",    "uint",    "float", "opaque",
                                           "bfloat", "complex", "bool"};
  refuse(name, fmt::format("has elements of type {}{}, but must be float32, float16 or bfloat16",
                           given.code < std::size(kKinds) ? kKinds[given.code] : "other ",
                           int(given.bits)));
}

Place place_of(const std::string& name, int type, int ordinal) {
  switch (type) {
    case nb::device::cpu::value:
    case nb::device::cuda_host::value:
      return {};
    case nb::device::cuda::value:
    case nb::device::cuda_managed::value:
      return {true, ordinal};
    default:
      refuse(name, fmt::format("is on DLPack's device type {}, but must be on the CPU or on CUDA; "
                               "numpy.asarray({}) gives what is in host memory",
                               type, name));
  }
}

}  // namespace

std::string to_text(const Place& place) {
  return place.cuda ? fmt::format("cuda:{}", place.ordinal) : "the CPU";
}

Tensor::Tensor(std::string name, Array array, bool bits)
    : name_(std::move(name)), array_(std::move(array)) {
  dtype_ = dtype_of(name_, array_.dtype(), bits);
  place_ = place_of(name_, array_.device_type(), array_.device_id());
  std::vector<std::int64_t> strides;
  std::int64_t dense = 1;
  bool in_order = true;
  for (std::size_t i = 0; i < array_.ndim(); ++i) {
    sizes_.push_back(std::int64_t(array_.shape(i)));
    if (array_.stride_ptr()) strides.push_back(array_.stride(i));
  }
  if (strides.empty() || array_.size() == 0) return;  // DLPack: none are the dense ones
  for (std::size_t i = sizes_.size(); i-- > 0; dense *= sizes_[i])
    in_order = in_order && (sizes_[i] == 1 || strides[i] == dense);
  if (!in_order)
    refuse(name_, fmt::format(
                      "has shape ({}) with strides ({}), in elements, but must be contiguous: pass "
                      "numpy.ascontiguousarray({}) or {}.contiguous()",
                      fmt::join(sizes_, ", "), fmt::join(strides, ", "), name_, name_));
}

Tensor::Tensor(Device& device, Place place, const std::vector<std::int64_t>& sizes, DType dtype,
               bool bits)
    : name_("out"), dtype_(dtype), place_(place), sizes_(sizes) {
  std::size_t bytes = size_of(dtype);
  std::vector<std::size_t> shape;
  for (const std::int64_t size : sizes) {
    shape.push_back(std::size_t(size));
    bytes *= std::size_t(size);
  }
  auto buffer = device.allocate(bytes);
  void* address = buffer->memory().address();
  const nb::capsule owner(buffer.release(),
                          [](void* p) noexcept { delete static_cast<Buffer*>(p); });
  const int type = place.cuda ? nb::device::cuda::value : nb::device::cpu::value;
  array_ = Array(nb::ndarray<>(address, shape.size(), shape.data(), owner, nullptr,
                               to_dlpack(dtype, bits), type, place.ordinal));
}

TensorView Tensor::dense(Memory memory, std::array<std::int64_t, 4> sizes) const {
  const auto [a, b, c, d] = sizes;
  return {memory, dtype_, sizes, {b * c * d, c * d, d, 1}};
}

TensorView Tensor::activation(Memory memory, Layout layout) const {
  std::vector<std::int64_t> s = sizes_;
  if (s.size() == 3) s.insert(s.begin(), 1);
  if (s.size() != 4)
    refuse(name_, fmt::format("has {} dimensions, but must have 4 ({}), or 3 without N",
                              sizes_.size(), layout == Layout::nchw ? "N, C, H, W" : "N, H, W, C"));
  if (layout == Layout::nchw) return dense(memory, {s[0], s[1], s[2], s[3]});
  TensorView view = dense(memory, {s[0], s[3], s[1], s[2]});
  view.strides = {s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]};
  return view;
}

TensorView Tensor::weights(Memory memory) const {
  if (sizes_.size() != 4)
    refuse(name_,
           fmt::format("has {} dimensions, but must have 4 (K, C/groups, R, S)", sizes_.size()));
  return dense(memory, {sizes_[0], sizes_[1], sizes_[2], sizes_[3]});
}

TensorView Tensor::bias(Memory memory) const {
  if (sizes_.size() != 1)
    refuse(name_, fmt::format("has {} dimensions, but must have 1 (K)", sizes_.size()));
  return dense(memory, {sizes_[0], 1, 1, 1});
}

}  // namespace metalconv::python
