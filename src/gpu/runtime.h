// SPDX-License-Identifier: Apache-2.0
// What every GPU can do: compile a .metal source, allocate, launch, time. Metal, CUDA and the
// emulator implement this, and everything above it is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include "metalconv/device.h"

namespace metalconv::gpu {

/// Sizes along x, y and z.
struct Extent {
  std::uint32_t x = 1, y = 1, z = 1;

  /// Of 96 bits at most; Runtime::launch refuses what Limits do not allow.
  constexpr double count() const { return double(x) * y * z; }
};

/// Whole threadgroups only, so that every thread of a group exists and barriers mean the same
/// everywhere. No group along any axis: nothing runs.
struct LaunchShape {
  Extent groups;   ///< threadgroups in the grid
  Extent threads;  ///< threads in a threadgroup
};

/// A Metal Shading Language text without local includes: the same string on every runtime.
struct Source {
  std::string file;  ///< the name in messages and debug information: "kernels/direct.metal"
  std::string text;
};

/// Preprocessor macros: what a kernel is specialised by.
using Macros = std::map<std::string, std::string>;

/// A kernel parameter's value: memory for a `device` or `constant` pointer, the bytes themselves
/// for a `constant` struct. Argument i of a launch is the kernel's [[buffer(i)]].
using Bytes = std::span<const std::byte>;
using Argument = std::variant<Memory, Bytes>;

/// A struct of constants as an argument; copied by launch().
template <class T>
Argument constants(const T& value) {
  return Bytes(std::as_bytes(std::span(&value, 1)));
}

/// What estimates reckon with. The defaults are of no GPU: they only order kernels, by the
/// efficiencies that an H100 was seen to have beside each other.
struct Rates {
  double flops = 10e12;  ///< a second; a multiply-add is two
  double bytes = 300e9;  ///< a second
  /// Of `bytes`, for what one launch writes and the next one reads: caches hold some of it.
  double between = 1.8;
  // The part of `flops` that products of many channels reach: without matrix units, and on them in
  // halves and tf32, in halves that lie in planes, and in f32. An H100 ran 1.2 to 1.3 times as fast
  // in f32 on them, up to 2.1 times in tf32 and in f16 of NHWC, and 0.3 to 1.3 times in f16 of
  // NCHW.
  double general = 0.7, matrix = 2.0, matrix_planes = 0.7, matrix_f32 = 0.9;
};

struct Limits {
  std::uint32_t threads_per_group = 1024;
  std::size_t threadgroup_bytes = 32768;  ///< of `threadgroup` memory
  std::size_t constant_bytes = 4096;      ///< of one argument that is Bytes
  std::uint32_t simd_width = 32;
  std::uint32_t compute_units = 1;  ///< cores or multiprocessors, all of which want threadgroups
  Extent groups{UINT32_MAX, UINT32_MAX, UINT32_MAX};
  bool bfloat = true;
  Rates rates{};
};

/// A compiled kernel. Belongs to the runtime that made it, and must not outlive it.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual const std::string& name() const = 0;
  /// Threads that one threadgroup may have: the device's limit, or less for a kernel that needs
  /// many registers or says [[max_total_threads_per_threadgroup(n)]].
  virtual std::uint32_t max_threads() const = 0;
};

/// All members may be called from several threads, one thread a queue.
class Runtime {
 public:
  virtual ~Runtime() = default;
  /// What it runs on, without the facts that only the device above knows.
  virtual DeviceInfo info() const = 0;
  virtual const Limits& limits() const = 0;
  /// False where Memory::handle is an object, not an address (metal).
  virtual bool handles_are_addresses() const { return true; }

  /// Throws Error{device} with the compiler's words, Error{invalid_argument} when the source has no
  /// such kernel. Compiles anew each time it must: the caller keeps kernels by key.
  virtual std::unique_ptr<const Kernel> compile(const Source& source, const std::string& kernel,
                                                const Macros& macros) = 0;

  /// Throws Error{too_large} when the memory cannot be had.
  virtual std::unique_ptr<Buffer> allocate(std::size_t bytes) = 0;
  virtual std::unique_ptr<Queue> make_queue() = 0;
  /// As Device::make_queue_on; null where there are no streams.
  virtual std::unique_ptr<Queue> make_queue_on(void* /*stream*/) { return nullptr; }

  /// Enqueue one launch. Throws Error{invalid_argument} for a shape outside the limits; failures of
  /// the kernel itself are Error{device}, at the latest from Queue::wait().
  virtual void launch(Queue& queue, const Kernel& kernel, const LaunchShape& shape,
                      std::span<const Argument> arguments) = 0;
};

}  // namespace metalconv::gpu
