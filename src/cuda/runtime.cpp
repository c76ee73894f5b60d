// SPDX-License-Identifier: Apache-2.0
#include "cuda/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <utility>

#include "cuda/compiler.h"
#include "gpu/launch_check.h"
#include "metalconv/error.h"
#include "msl/msl.h"

namespace metalconv::cuda {
namespace {

using SharedContext = std::shared_ptr<const Context>;

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(SharedContext context, std::size_t bytes)
      : context_(std::move(context)), bytes_(bytes) {
    const Current current(*context_);
    const Driver& cu = context_->driver();
    // An allocation of no bytes is an error in CUDA.
    const int code = cu.allocate(&pointer_, std::max<std::size_t>(bytes, 1));
    if (code == kOutOfMemory)
      throw Error(ErrorCode::too_large,
                  fmt::format("a buffer of {} bytes cannot be allocated on {}: {}", bytes,
                              context_->model(), cu.describe(code)));
    if (code != kSuccess) cu.fail(cu.allocate.name(), code);
  }
  ~CudaBuffer() override {
    context_->release([this](const Driver& cu) { cu.free(pointer_); });
  }

  Memory memory() const override { return {std::bit_cast<void*>(pointer_), 0, bytes_}; }

  void upload(const void* host, std::size_t bytes, std::size_t offset) override {
    const DevicePointer to = at(bytes, offset);
    if (bytes == 0) return;
    const Current current(*context_);
    const Driver& cu = context_->driver();
    cu.call(cu.upload, to, host, bytes);
    // From pageable memory the copy may still be under way, and our streams do not wait for it.
    cu.call(cu.stream_wait, Handle());
  }
  void download(void* host, std::size_t bytes, std::size_t offset) const override {
    const DevicePointer from = at(bytes, offset);
    if (bytes == 0) return;
    const Current current(*context_);
    context_->driver().call(context_->driver().download, host, from, bytes);
  }

 private:
  DevicePointer at(std::size_t bytes, std::size_t offset) const {
    if (offset > bytes_ || bytes > bytes_ - offset)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a copy of {} bytes at offset {} ends past the buffer's {} bytes",
                              bytes, offset, bytes_));
    return pointer_ + offset;
  }

  SharedContext context_;
  std::size_t bytes_;
  DevicePointer pointer_ = 0;
};

/// Times work by events around the replay of a CUDA graph, so that the host's cost of a launch does
/// not enter: cuDNN's is several times that of one kernel. What cannot be captured runs plainly.
class CudaQueue final : public Queue {
 public:
  /// On a stream of its own.
  explicit CudaQueue(const SharedContext& context) : CudaQueue(context, nullptr) {
    const Current current(*context_);
    cu_.call(cu_.stream_create, own_stream_.receive(), kStreamNonBlocking);
    stream_ = own_stream_.get();
  }
  /// On the caller's.
  CudaQueue(const SharedContext& context, Handle stream)
      : context_(context),
        own_stream_(context, &Driver::stream_destroy),
        start_(context, &Driver::event_destroy),
        end_(context, &Driver::event_destroy),
        stream_(stream) {
    const Current current(*context_);
    cu_.call(cu_.event_create, start_.receive(), 0u);
    cu_.call(cu_.event_create, end_.receive(), 0u);
  }

  Handle stream() const { return stream_; }

  void wait() override {
    const Current current(*context_);
    cu_.call(cu_.stream_wait, stream());
  }

  double time(const std::function<void()>& enqueue) override {
    const Current current(*context_);
    Owned graph(context_, &Driver::graph_destroy);
    Owned replay(context_, &Driver::graph_exec_destroy);
    if (!capture(enqueue, graph) ||
        cu_.graph_instantiate(replay.receive(), graph.get(), 0) != kSuccess)
      return between_events(enqueue);
    cu_.call(cu_.graph_upload, replay.get(), stream());
    return between_events([&] { cu_.call(cu_.graph_launch, replay.get(), stream()); });
  }

 private:
  bool capture(const std::function<void()>& enqueue, Owned& graph) {
    if (cu_.capture_begin(stream(), kCaptureRelaxed) != kSuccess) return false;
    bool enqueued = true;
    try {
      enqueue();
    } catch (const Error&) {
      enqueued = false;  // what was not due to the capture comes again
    }
    return cu_.capture_end(stream(), graph.receive()) == kSuccess && enqueued && graph.get();
  }

  double between_events(const std::function<void()>& enqueue) {
    cu_.call(cu_.event_record, start_.get(), stream());
    enqueue();
    cu_.call(cu_.event_record, end_.get(), stream());
    cu_.call(cu_.event_wait, end_.get());
    float milliseconds = 0;
    cu_.call(cu_.event_elapsed, &milliseconds, start_.get(), end_.get());
    return milliseconds * 1e-3;
  }

  SharedContext context_;
  const Driver& cu_ = context_->driver();
  Owned own_stream_, start_, end_;
  Handle stream_;
};

class CudaKernel final : public gpu::Kernel {
 public:
  CudaKernel(const SharedContext& context, const msl::KernelSignature& signature,
             const std::vector<char>& image)
      : signature_(signature), module_(context, &Driver::module_unload) {
    const Current current(*context);
    const Driver& cu = context->driver();
    cu.call(cu.module_load, module_.receive(), static_cast<const void*>(image.data()));
    cu.call(cu.module_function, &function_, module_.get(), signature_.name.c_str());
    int threads = 0;
    cu.call(cu.function_attribute, &threads, kMaxThreads, function_);
    max_threads_ = std::uint32_t(threads);
  }

  const std::string& name() const override { return signature_.name; }
  std::uint32_t max_threads() const override { return max_threads_; }
  Handle function() const { return function_; }
  const std::vector<msl::Argument>& buffers() const { return signature_.buffers; }

 private:
  msl::KernelSignature signature_;
  Owned module_;
  Handle function_ = nullptr;
  std::uint32_t max_threads_ = 0;
};

/// What cuLaunchKernel takes: the address of each parameter's value, in the order of the kernel's
/// parameters. A parameter that is not bound is one that the kernel's macros leave unused: zeros.
class Parameters {
 public:
  Parameters(const CudaKernel& kernel, std::span<const gpu::Argument> arguments) {
    const auto& buffers = kernel.buffers();
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const msl::Argument& wanted = buffers[i];
      const auto index = std::size_t(wanted.index);
      values_[i] = index < arguments.size() ? bind(i, kernel, wanted, arguments[index])
                                            : const_cast<std::byte*>(kZeros.data());
    }
  }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  void** values() { return values_.data(); }

 private:
  void* bind(std::size_t i, const CudaKernel& kernel, const msl::Argument& wanted,
             const gpu::Argument& given) {
    const bool by_value = wanted.is_reference && wanted.space == msl::Space::constant;
    const auto* memory = std::get_if<Memory>(&given);
    if (by_value == (memory != nullptr))
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("argument {} of kernel '{}' is {}, but '{}' is {}", wanted.index,
                              kernel.name(), memory ? "memory" : "bytes", wanted.name,
                              by_value ? "a struct of constants" : "a pointer"));
    if (!memory) return const_cast<std::byte*>(std::get<gpu::Bytes>(given).data());
    pointers_[i] = memory->handle ? pointer_of(memory->address()) : 0;
    return &pointers_[i];
  }

  static constexpr std::array<std::byte, 4096> kZeros{};
  std::array<DevicePointer, gpu::kMaxArguments> pointers_{};
  std::array<void*, gpu::kMaxArguments> values_{};
};

constexpr std::uint32_t kMaxThreadsZ = 64;  // of a block, on every device

std::string megahertz(int khz) { return fmt::format("{} MHz", khz / 1000); }

/// The driver's own version is in no function of its API.
std::string kernel_module_version() {
  std::ifstream file("/sys/module/nvidia/version");
  std::string version;
  std::getline(file, version);
  return version;
}

class CudaRuntime final : public gpu::Runtime {
 public:
  CudaRuntime(SharedContext context, const Places& places)
      : context_(std::move(context)), compiler_(places, context_->driver_version()) {
    const auto limit = [&](Attribute attribute) {
      return std::uint32_t(context_->attribute(attribute));
    };
    capability_ = context_->capability();
    limits_.threads_per_group = limit(Attribute::max_threads_per_block);
    limits_.threadgroup_bytes = limit(Attribute::shared_bytes_per_block);
    limits_.simd_width = limit(Attribute::warp_size);
    limits_.groups = {limit(Attribute::max_grid_x), limit(Attribute::max_grid_y),
                      limit(Attribute::max_grid_z)};
    limits_.compute_units = limit(Attribute::multiprocessors);
    limits_.bfloat = capability_ >= 80;
  }

  DeviceInfo info() const override {
    const Context& c = *context_;
    DeviceInfo info;
    info.name = "cuda";
    info.model = c.model();
    info.compute_units = c.attribute(Attribute::multiprocessors);
    info.memory_bytes = c.memory_bytes();
    info.last_level_cache_bytes = std::size_t(c.attribute(Attribute::l2_bytes));
    info.facts = {{"CUDA", version_text(c.driver_version())},
                  {"NVRTC", version_text(compiler_.version())},
                  {"compute capability", fmt::format("{}.{}", capability_ / 10, capability_ % 10)},
                  {"SM clock", megahertz(c.attribute(Attribute::clock_khz)) + " at most"},
                  {"memory clock", megahertz(c.attribute(Attribute::memory_clock_khz))},
                  {"memory bus", fmt::format("{} bits", c.attribute(Attribute::memory_bus_bits))},
                  {"timing", "events around the replay of a CUDA graph"}};
    if (const std::string version = kernel_module_version(); !version.empty())
      info.facts["driver"] = version;
    return info;
  }
  const gpu::Limits& limits() const override { return limits_; }

  std::unique_ptr<const gpu::Kernel> compile(const gpu::Source& source, const std::string& kernel,
                                             const gpu::Macros& macros) override {
    const msl::Translation translation = msl::to_cuda(source.text, source.file);
    const auto signature = std::find_if(translation.kernels.begin(), translation.kernels.end(),
                                        [&](const auto& k) { return k.name == kernel; });
    if (signature == translation.kernels.end())
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} has no kernel '{}'", source.file, kernel));
    const auto image = compiler_.compile({source.file, translation.text}, macros, capability_);
    return std::make_unique<CudaKernel>(context_, *signature, image);
  }

  std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    return std::make_unique<CudaBuffer>(context_, bytes);
  }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<CudaQueue>(context_); }
  std::unique_ptr<Queue> make_queue_on(void* stream) override {
    return std::make_unique<CudaQueue>(context_, stream);
  }

  void launch(Queue& queue, const gpu::Kernel& kernel, const gpu::LaunchShape& shape,
              std::span<const gpu::Argument> arguments) override {
    gpu::check_launch(kernel, limits_, shape, arguments);
    const auto &groups = shape.groups, &threads = shape.threads;
    if (threads.z > kMaxThreadsZ)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a threadgroup of kernel '{}' is {} threads, but CUDA has at most {} "
                              "along z",
                              kernel.name(), gpu::to_text(threads), kMaxThreadsZ));
    const auto& cuda_kernel = static_cast<const CudaKernel&>(kernel);
    Parameters parameters(cuda_kernel, arguments);
    if (groups.x == 0 || groups.y == 0 || groups.z == 0) return;
    const Current current(*context_);
    const Driver& cu = context_->driver();
    if (const int code =
            cu.launch(cuda_kernel.function(), groups.x, groups.y, groups.z, threads.x, threads.y,
                      threads.z, 0, stream_of(queue), parameters.values(), nullptr))
      cu.fail(fmt::format("the launch of kernel '{}'", kernel.name()), code);
  }

 private:
  SharedContext context_;
  Compiler compiler_;
  gpu::Limits limits_;
  int capability_ = 0;
};

}  // namespace

Handle stream_of(Queue& queue) { return static_cast<CudaQueue&>(queue).stream(); }

std::unique_ptr<gpu::Runtime> make_runtime(std::shared_ptr<const Context> context,
                                           const Places& places) {
  return std::make_unique<CudaRuntime>(std::move(context), places);
}

}  // namespace metalconv::cuda
