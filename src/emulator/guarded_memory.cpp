// SPDX-License-Identifier: Apache-2.0
#include "emulator/guarded_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "emulator/sanitizers.h"

namespace metalconv::emulator {
namespace {

constexpr std::size_t kCanaryBytes = 256;
constexpr unsigned char kCanary = 0xC5;

bool intact(const unsigned char* canary, std::size_t bytes) {
  return std::all_of(canary, canary + bytes, [](unsigned char c) { return c == kCanary; });
}

}  // namespace

GuardedMemory::GuardedMemory(std::size_t bytes, std::size_t alignment)
    : bytes_(bytes), guard_(kAsan ? 0 : std::max(kCanaryBytes, alignment)) {
  void* memory = nullptr;
  // Exactly `bytes` under AddressSanitizer: rounded up, an overrun into the rest would be missed.
  if (bytes > SIZE_MAX - 2 * guard_ ||
      posix_memalign(&memory, std::max(alignment, sizeof(void*)), bytes + 2 * guard_) != 0)
    throw std::bad_alloc();
  data_ = static_cast<unsigned char*>(memory) + guard_;
  std::memset(data_ - guard_, kCanary, guard_);
  std::memset(data_ + bytes_, kCanary, guard_);
}

GuardedMemory::~GuardedMemory() {
  if (data_) std::free(data_ - guard_);
}

GuardedMemory::GuardedMemory(GuardedMemory&& other) noexcept
    : bytes_(other.bytes_), guard_(other.guard_), data_(std::exchange(other.data_, nullptr)) {}

void GuardedMemory::poison() { std::memset(data_, 0xFF, bytes_); }

GuardedMemory::Overrun GuardedMemory::overrun() const {
  if (!intact(data_ - guard_, guard_)) return Overrun::before;
  if (!intact(data_ + bytes_, guard_)) return Overrun::behind;
  return Overrun::none;
}

const char* to_string(GuardedMemory::Overrun overrun) {
  return overrun == GuardedMemory::Overrun::before ? "before" : "behind";
}

}  // namespace metalconv::emulator
