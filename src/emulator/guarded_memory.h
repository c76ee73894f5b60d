// SPDX-License-Identifier: Apache-2.0
// A block whose overruns show: by AddressSanitizer's red zones, which begin at its first and last
// byte, or else by canaries that are looked at afterwards.
#pragma once

#include <cstddef>

namespace metalconv::emulator {

class GuardedMemory {
 public:
  /// Throws std::bad_alloc. `alignment` is a power of two.
  GuardedMemory(std::size_t bytes, std::size_t alignment);
  ~GuardedMemory();
  GuardedMemory(GuardedMemory&& other) noexcept;
  GuardedMemory& operator=(GuardedMemory&&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  /// All bits set: a NaN in every float type, so that reading what was never written shows.
  void poison();

  enum class Overrun { none, before, behind };
  /// Which canary was overwritten; none under AddressSanitizer, which has reported it by then.
  Overrun overrun() const;

 private:
  std::size_t bytes_;
  std::size_t guard_;  // bytes of canary on each side
  unsigned char* data_;
};

/// "before" or "behind", for messages.
const char* to_string(GuardedMemory::Overrun);

}  // namespace metalconv::emulator
