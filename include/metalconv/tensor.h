// SPDX-License-Identifier: Apache-2.0
// TensorView: typed, strided memory on a device.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "metalconv/problem.h"

namespace metalconv {

/// A place in a device's memory. `handle` is an address on cpu, cuda and emulator, and an
/// MTL::Buffer* on metal; `offset` and `bytes` delimit the part meant.
struct Memory {
  void* handle = nullptr;  ///< null: no memory
  std::size_t offset = 0;  ///< bytes from the handle to the first one meant
  std::size_t bytes = 0;   ///< how many are meant

  /// The address of the first byte, on devices whose handle is an address.
  void* address() const { return static_cast<std::byte*>(handle) + offset; }
};

/// Memory of the caller's own, used where it lies: host memory on cpu and emulator, a device
/// address (CUdeviceptr, or what cudaMalloc gave) on cuda, an MTL::Buffer* or id<MTLBuffer> on
/// metal, where `offset` counts bytes from its start. Nothing is copied or owned: it must outlive
/// the work enqueued on it. Only y, packed weights and workspaces are written.
inline Memory wrap(const void* handle, std::size_t bytes, std::size_t offset = 0) {
  return {const_cast<void*>(handle), offset, bytes};
}
/// The same of an address that is a number, such as a CUdeviceptr.
inline Memory wrap(std::uint64_t address, std::size_t bytes, std::size_t offset = 0) {
  return wrap(std::bit_cast<const void*>(std::uintptr_t(address)), bytes, offset);
}

/// A 4-D view. Sizes and strides count elements and are in logical order, whatever the memory
/// order: activations N, C, H, W; weights K, C/groups, R, S; a bias is K, 1, 1, 1.
struct TensorView {
  Memory memory;                          ///< begins with the element at 0, 0, 0, 0
  DType dtype = DType::f32;               ///< of an element
  std::array<std::int64_t, 4> sizes{};    ///< elements along each axis
  std::array<std::int64_t, 4> strides{};  ///< elements from one index to the next
};

/// The dense view of x of a valid `problem` in its layout, over memory of at least x_bytes().
TensorView x_view(const ConvProblem& problem, Memory memory);
/// Of the weights: K, C/groups, R, S, dense, whatever the layout; at least w_bytes().
TensorView w_view(const ConvProblem& problem, Memory memory);
/// Of the bias: K elements.
TensorView bias_view(const ConvProblem& problem, Memory memory);
/// Of y: N, K, P, Q in the problem's layout; at least y_bytes().
TensorView y_view(const ConvProblem& problem, Memory memory);

}  // namespace metalconv
