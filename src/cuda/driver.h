// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA driver API that is used, declared by hand (cuda.h, CUDA 13.0; all of it is
// older than CUDA 12).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/library.h"

namespace metalconv::cuda {

using DevicePointer = std::uint64_t;  // CUdeviceptr
// Opaque handles: CUcontext, CUmodule, CUfunction, CUstream, CUevent, CUgraph, CUgraphExec.
using Handle = void*;

/// CUdevice_attribute
enum class Attribute : int {
  max_threads_per_block = 1,
  max_grid_x = 5,
  max_grid_y = 6,
  max_grid_z = 7,
  shared_bytes_per_block = 8,
  warp_size = 10,
  clock_khz = 13,
  multiprocessors = 16,
  memory_clock_khz = 36,
  memory_bus_bits = 37,
  l2_bytes = 38,
  capability_major = 75,
  capability_minor = 76,
};

inline constexpr int kSuccess = 0;
inline constexpr int kOutOfMemory = 2;       // CUDA_ERROR_OUT_OF_MEMORY
inline constexpr int kMaxThreads = 0;        // CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
inline constexpr int kMaxDynamicShared = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
inline constexpr unsigned kStreamNonBlocking = 1;  // CU_STREAM_NON_BLOCKING
inline constexpr int kCaptureRelaxed = 2;          // CU_STREAM_CAPTURE_MODE_RELAXED

inline DevicePointer pointer_of(const void* address) {
  return reinterpret_cast<DevicePointer>(address);
}

/// The driver's functions; the _v2 names are what cuda.h's macros call.
class Driver {
 public:
  /// Throws Error{device} with a sentence on what is missing.
  explicit Driver(const Places& places);

  /// Throws Error{device} with CUDA's own name and words for a failure.
  template <class F, class... Arguments>
  void call(const F& function, Arguments... arguments) const {
    const int code = function(arguments...);
    if (code != kSuccess) fail(function.name(), code);
  }
  [[noreturn]] void fail(const std::string& what, int code) const;
  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  std::string describe(int code) const;

 private:
  Library library_;

 public:
  Function<int(unsigned)> init{library_, "cuInit"};
  Function<int(int*)> driver_version{library_, "cuDriverGetVersion"};
  Function<int(int, const char**)> error_name{library_, "cuGetErrorName"};
  Function<int(int, const char**)> error_string{library_, "cuGetErrorString"};

  Function<int(int*)> device_count{library_, "cuDeviceGetCount"};
  Function<int(int*, int)> device_get{library_, "cuDeviceGet"};
  Function<int(char*, int, int)> device_name{library_, "cuDeviceGetName"};
  Function<int(std::size_t*, int)> device_memory{library_, "cuDeviceTotalMem_v2"};
  Function<int(int*, Attribute, int)> device_attribute{library_, "cuDeviceGetAttribute"};

  Function<int(Handle*, int)> context_retain{library_, "cuDevicePrimaryCtxRetain"};
  Function<int(int)> context_release{library_, "cuDevicePrimaryCtxRelease_v2"};
  Function<int(Handle)> context_push{library_, "cuCtxPushCurrent_v2"};
  Function<int(Handle*)> context_pop{library_, "cuCtxPopCurrent_v2"};

  Function<int(DevicePointer*, std::size_t)> allocate{library_, "cuMemAlloc_v2"};
  Function<int(DevicePointer)> free{library_, "cuMemFree_v2"};
  Function<int(DevicePointer, const void*, std::size_t)> upload{library_, "cuMemcpyHtoD_v2"};
  Function<int(void*, DevicePointer, std::size_t)> download{library_, "cuMemcpyDtoH_v2"};
  Function<int(DevicePointer, DevicePointer, std::size_t, Handle)> copy{library_,
                                                                        "cuMemcpyDtoDAsync_v2"};
  Function<int(DevicePointer, unsigned char, std::size_t, Handle)> fill{library_,
                                                                        "cuMemsetD8Async"};

  Function<int(Handle*, const void*)> module_load{library_, "cuModuleLoadData"};
  Function<int(Handle)> module_unload{library_, "cuModuleUnload"};
  Function<int(Handle*, Handle, const char*)> module_function{library_, "cuModuleGetFunction"};
  Function<int(int*, int, Handle)> function_attribute{library_, "cuFuncGetAttribute"};
  Function<int(Handle, int, int)> function_set_attribute{library_, "cuFuncSetAttribute"};
  /// function; grid x, y, z; block x, y, z; dynamic shared bytes; stream; parameters; extra
  Function<int(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle,
               void**, void**)>
      launch{library_, "cuLaunchKernel"};

  Function<int(Handle*, unsigned)> stream_create{library_, "cuStreamCreate"};
  Function<int(Handle)> stream_destroy{library_, "cuStreamDestroy_v2"};
  Function<int(Handle)> stream_wait{library_, "cuStreamSynchronize"};
  Function<int(Handle, int)> capture_begin{library_, "cuStreamBeginCapture_v2"};
  Function<int(Handle, Handle*)> capture_end{library_, "cuStreamEndCapture"};
  Function<int(Handle*, Handle, unsigned long long)> graph_instantiate{
      library_, "cuGraphInstantiateWithFlags"};
  Function<int(Handle, Handle)> graph_upload{library_, "cuGraphUpload"};
  Function<int(Handle, Handle)> graph_launch{library_, "cuGraphLaunch"};
  Function<int(Handle)> graph_exec_destroy{library_, "cuGraphExecDestroy"};
  Function<int(Handle)> graph_destroy{library_, "cuGraphDestroy"};

  Function<int(Handle*, unsigned)> event_create{library_, "cuEventCreate"};
  Function<int(Handle)> event_destroy{library_, "cuEventDestroy_v2"};
  Function<int(Handle, Handle)> event_record{library_, "cuEventRecord"};
  Function<int(Handle)> event_wait{library_, "cuEventSynchronize"};
  Function<int(float*, Handle, Handle)> event_elapsed{library_, "cuEventElapsedTime"};
};

/// A device and its primary context, which is what the CUDA runtime and PyTorch use, too. Shared by
/// all that hold something in it.
class Context {
 public:
  /// Throws Error{device} without a driver or device, Error{invalid_argument} for an ordinal that
  /// is too high.
  Context(int ordinal, const Places& places);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Driver& driver() const { return driver_; }
  Handle handle() const { return handle_; }
  int attribute(Attribute) const;
  std::string model() const;
  std::size_t memory_bytes() const;
  int driver_version() const;  ///< the CUDA version that it serves, 13000 for 13.0
  int capability() const;      ///< 90 for sm_90

  /// body(driver()) with the context current, for destructors: what fails there is passed over.
  template <class Body>
  void release(const Body& body) const noexcept {
    Handle popped = nullptr;
    if (driver_.context_push(handle_) != kSuccess) return;
    body(driver_);
    driver_.context_pop(&popped);
  }

 private:
  Driver driver_;
  int device_ = 0;
  Handle handle_ = nullptr;
};

/// Makes the context current in a scope, and what was current before after it.
class Current {
 public:
  explicit Current(const Context& context) : driver_(context.driver()) {
    driver_.call(driver_.context_push, context.handle());
  }
  ~Current() {
    Handle popped = nullptr;
    driver_.context_pop(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const Driver& driver_;
};

/// A handle of the driver's that ends with its scope.
class Owned {
 public:
  using Release = Function<int(Handle)> Driver::*;
  Owned(std::shared_ptr<const Context> context, Release release)
      : context_(std::move(context)), release_(release) {}
  ~Owned() {
    if (handle_) context_->release([this](const Driver& cu) { (cu.*release_)(handle_); });
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  Handle get() const { return handle_; }
  Handle* receive() { return &handle_; }  ///< for the function that makes it

 private:
  std::shared_ptr<const Context> context_;
  Release release_;
  Handle handle_ = nullptr;
};

/// Devices that the driver sees; 0 without a driver.
int count_devices(const Places& places);

/// "13.0" of 13000, the way CUDA writes a version as a number.
std::string version_text(int version);

}  // namespace metalconv::cuda
