// SPDX-License-Identifier: Apache-2.0
// Device, Buffer, Queue: the same small interface on every kind of hardware.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "metalconv/tensor.h"

namespace metalconv {

class Registry;

/// Memory owned on a device.
class Buffer {
 public:
  virtual ~Buffer() = default;
  /// The whole of it; valid while the buffer lives.
  virtual Memory memory() const = 0;
  /// Copy `bytes` from the host to `offset` bytes behind the start, and wait. Throws
  /// Error{invalid_argument} past the end.
  virtual void upload(const void* host, std::size_t bytes, std::size_t offset = 0) = 0;
  /// The same in the other direction.
  virtual void download(void* host, std::size_t bytes, std::size_t offset = 0) const = 0;
};

/// An ordered stream of work.
class Queue {
 public:
  virtual ~Queue() = default;
  /// Wait for all work enqueued so far. Throws Error{device} when any of it failed.
  virtual void wait() = 0;
  /// Seconds on the device's own clock from the start to the end of what `enqueue` enqueues. Waits.
  /// `enqueue` must only enqueue work on this queue.
  virtual double time(const std::function<void()>& enqueue) = 0;
};

/// A measurable ceiling of a device.
struct RoofProbe {
  /// "write", "read", "copy" (bytes), "fma" or, of matrix units, "matrix f16", "matrix tf32" ...
  /// (operations)
  std::string name;
  std::string path;  ///< the code path, e.g. "avx512, non-temporal stores"
  /// Bytes touched, so that each level of cache has its own roof; 0 for operations.
  double working_set_bytes = 0;
  double work = 0;                  ///< bytes or operations of one run
  std::function<void(Queue&)> run;  ///< enqueue the work once
};

/// What a device says of itself.
struct DeviceInfo {
  std::string name;                          ///< "cpu", "cuda", "metal", "emulator"
  std::string model;                         ///< as the hardware calls itself
  int compute_units = 0;                     ///< threads on a CPU, SMs or cores on a GPU
  std::size_t memory_bytes = 0;              ///< memory that can be allocated on it
  std::size_t last_level_cache_bytes = 0;    ///< 0 when it is hidden
  bool timed = true;                         ///< false: for truth, not for speed (the emulator)
  std::map<std::string, std::string> facts;  ///< driver, instruction set, vendor versions ...
};

/// Where convolutions run. Its members may be called from several threads; it must outlive its
/// buffers, queues and plans.
class Device {
 public:
  virtual ~Device() = default;
  /// Constant while the device lives.
  virtual const DeviceInfo& info() const = 0;
  /// Uninitialised memory, aligned to Plan::kAlignment; 0 bytes are allowed. Throws
  /// Error{too_large} when it cannot be had.
  virtual std::unique_ptr<Buffer> allocate(std::size_t bytes) = 0;
  /// For one thread at a time. On the cpu and the emulator work is done when it is enqueued.
  virtual std::unique_ptr<Queue> make_queue() = 0;
  /// A queue on the caller's own stream, so that work is in order with the caller's without a wait:
  /// a CUstream of the primary context on cuda (null: the default stream), an MTL::CommandQueue* on
  /// metal. The stream must outlive the queue. Throws Error{unsupported} on devices that have no
  /// streams (cpu, emulator), Error{invalid_argument} for null on metal.
  virtual std::unique_ptr<Queue> make_queue_on(void* stream);
  /// The kernels of this device, ours and the vendor's.
  virtual const Registry& registry() const = 0;
  /// What its roofs are measured with; none on a device that is not timed.
  virtual std::vector<RoofProbe> roof_probes() = 0;
};

}  // namespace metalconv
