// SPDX-License-Identifier: Apache-2.0
// Memory for several tensors, cut one after the other.
#pragma once

#include <cstddef>

#include "metalconv/tensor.h"

namespace metalconv::gpu {

class Scratch {
 public:
  explicit Scratch(Memory memory) : memory_(memory) {}

  /// What take() takes for that many bytes: tensors begin at multiples of 256.
  static constexpr std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  Memory take(std::size_t bytes) {
    const Memory part{memory_.handle, memory_.offset + taken_, bytes};
    taken_ += rounded(bytes);
    return part;
  }

 private:
  Memory memory_;
  std::size_t taken_ = 0;
};

}  // namespace metalconv::gpu
