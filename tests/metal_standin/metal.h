// SPDX-License-Identifier: Apache-2.0
// The stand-in's Metal objects: kernels run on the emulator. Work runs late, when somebody waits
// for it, so that a host program that does not wait does not see results.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "gpu/runtime.h"
#include "metal_standin/foundation.h"
#include "msl/msl.h"

namespace metalconv::standin {

Class& metal_class(const char* name);

struct DeviceObject : Object {
  DeviceObject();
  void dispose() override { emulator.reset(); }
  std::unique_ptr<gpu::Runtime> emulator;
};

struct BufferObject : Object {
  BufferObject(DeviceObject& owner, std::size_t bytes);
  void dispose() override;
  std::byte* contents() const { return static_cast<std::byte*>(memory->memory().handle); }
  Strong<DeviceObject> device;
  std::unique_ptr<Buffer> memory;
  std::size_t length;
};

struct LibraryObject : Object {
  LibraryObject(DeviceObject& owner, gpu::Source text, gpu::Macros defines);
  void dispose() override { device = {}; }
  Strong<DeviceObject> device;
  gpu::Source source;
  gpu::Macros macros;
  std::vector<msl::KernelSignature> kernels;
};

struct FunctionObject : Object {
  FunctionObject(LibraryObject& owner, std::unique_ptr<const gpu::Kernel> compiled,
                 msl::KernelSignature s);
  void dispose() override;
  Strong<LibraryObject> library;
  std::shared_ptr<const gpu::Kernel> kernel;
  msl::KernelSignature signature;
};

struct PipelineObject : Object {
  explicit PipelineObject(FunctionObject& f);
  void dispose() override { function = {}; }
  Strong<FunctionObject> function;
};

struct CommandBufferObject;

struct QueueObject : Object {
  explicit QueueObject(DeviceObject& owner);
  void dispose() override;
  /// Runs what was committed, in order, `last` and all before it; everything without `last`.
  void run_until(const CommandBufferObject* last);
  Strong<DeviceObject> device;
  std::vector<Strong<CommandBufferObject>> pending;
};

struct CommandBufferObject : Object {
  enum Status : UInteger { not_enqueued = 0, committed = 2, completed = 4, failed = 5 };

  explicit CommandBufferObject(QueueObject& owner);
  void dispose() override;
  void commit();
  void run();

  QueueObject* queue;  // which runs what is pending before it goes
  Strong<DeviceObject> device;
  std::vector<std::function<void()>> work;
  Object* open_encoder = nullptr;
  Status status = not_enqueued;
  Strong<Error> error;
  std::string failure;  ///< words of the error that it is to have
  double start = 0, end = 0;
};

void define_metal();

}  // namespace metalconv::standin
