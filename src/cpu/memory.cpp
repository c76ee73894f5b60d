// SPDX-License-Identifier: Apache-2.0
#include "cpu/memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <new>

namespace metalconv::cpu {
namespace {

constexpr std::size_t kPage = 4096, kHugePage = std::size_t(2) << 20;

std::align_val_t alignment_for(std::size_t bytes) {
  return std::align_val_t(bytes < kHugePage ? kPage : kHugePage);
}

}  // namespace

HostMemory::HostMemory(std::size_t bytes)
    : bytes_(bytes), data_(::operator new(std::max<std::size_t>(bytes, 1), alignment_for(bytes))) {
#ifdef __linux__
  // A wish: without huge pages it is as slow as before.
  if (bytes >= kHugePage) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
}

HostMemory::~HostMemory() { ::operator delete(data_, alignment_for(bytes_)); }

}  // namespace metalconv::cpu
