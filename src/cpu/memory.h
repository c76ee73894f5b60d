// SPDX-License-Identifier: Apache-2.0
// Host memory for tensors.
#pragma once

#include <cstddef>

namespace metalconv::cpu {

/// Uninitialised memory, page-aligned, so that no two share a page and vectors are aligned. Large
/// ones lie in huge pages where the system has them: the planes of an image lie many small pages
/// apart, and each row of each plane would cost a walk of the page tables.
class HostMemory {
 public:
  /// Throws std::bad_alloc.
  explicit HostMemory(std::size_t bytes);
  ~HostMemory();
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  void* data_;
};

}  // namespace metalconv::cpu
