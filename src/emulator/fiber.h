// SPDX-License-Identifier: Apache-2.0
// A flow of control with its own stack, which runs until it suspends itself: one thread of a
// threadgroup. A switch takes tens of nanoseconds where ucontext's system call takes 20 to 60
// times as long.
#pragma once

#include <cstddef>
#include <memory>

namespace metalconv::emulator {

class Fiber {
 public:
  using Body = void (*)(void* argument);

  /// `color` shifts the top of the stack, so that the stacks of a threadgroup, which lie at equal
  /// distances, do not compete for the same sets of the cache.
  explicit Fiber(std::size_t color);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Make ready to run body(argument). What the fiber was doing before, if it never came to its
  /// end, is abandoned.
  void prepare(Body body, void* argument);

  /// Run until the fiber suspends itself or its body returns. On the caller's OS thread.
  void resume();

  /// Give control back to resume(). Called on the fiber.
  void suspend();

 private:
  struct Impl;  // keeps Boost out of the header
  std::unique_ptr<Impl> impl_;
};

}  // namespace metalconv::emulator
