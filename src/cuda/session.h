// SPDX-License-Identifier: Apache-2.0
// cuDNN on one device: its handle, and conversions between layouts.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "cuda/conv_graph.h"
#include "cuda/cudnn.h"
#include "cuda/driver.h"

namespace metalconv::cuda::cudnn {

/// One handle for all threads. Enqueuing holds a lock for the microseconds that it takes.
class Session {
 public:
  /// Only opens the library; what takes long waits until it is needed.
  Session(std::shared_ptr<const Context> context, const Places& places);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Api& api() const { return api_; }
  const Context& context() const { return *context_; }

  /// body(target) with the handle held and the context current. Throws Error{device} when cuDNN
  /// cannot start.
  template <class Body>
  auto plan(const Body& body) {
    const Current current(*context_);
    const std::lock_guard lock(mutex_);
    start();
    return body(Target(api_, handle_));
  }

  /// Enqueue a plan with its variant pack.
  void execute(Handle stream, const Descriptor& plan, const Descriptor& pack);
  /// Enqueue y = x, from one layout to another.
  void transform(Handle stream, RawDescriptor x_type, const void* x, RawDescriptor y_type, void* y);

 private:
  void start();
  void use(Handle stream);

  std::shared_ptr<const Context> context_;
  Places places_;
  Api api_;
  std::mutex mutex_;  // of what follows
  RawHandle handle_ = nullptr;
  Handle stream_ = nullptr;
};

/// A copy of a tensor from one layout to another.
class Conversion {
 public:
  /// Throws Error{unsupported} for a tensor of 2^31 elements or more, which cuDNN does not convert.
  Conversion(const Api& api, DType dtype, const std::array<std::int64_t, 4>& sizes, Layout from,
             Layout to);

  void enqueue(Session& session, Handle stream, const void* x, void* y) const;

 private:
  using Type = std::unique_ptr<void, Function<int(RawDescriptor)>>;
  static Type make_type(const Api& api, DType dtype, const std::array<std::int64_t, 4>& sizes,
                        Layout layout);
  Type from_, to_;
};

}  // namespace metalconv::cuda::cudnn
