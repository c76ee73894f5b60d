// SPDX-License-Identifier: Apache-2.0
// Written against Apple's headers and tested on a stand-in for the frameworks behind them
// (tests/metal_standin); not yet run on an Apple GPU.
#include "metal/runtime.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/launch_check.h"
#include "metal/chips.h"
#include "metal/gpu_cores.h"
#include "metal/objects.h"
#include "metal/queue.h"
#include "metalconv/error.h"

namespace metalconv::metal {
namespace {

bool os_at_least(NS::Integer major) {
  return NS::ProcessInfo::processInfo()->isOperatingSystemAtLeastVersion({major, 0, 0});
}

// Shared storage: CPU and GPU see the same bytes, on Apple silicon in the same memory.
class MetalBuffer final : public Buffer {
 public:
  MetalBuffer(Owned<MTL::Buffer> buffer, std::size_t bytes)
      : buffer_(std::move(buffer)), bytes_(bytes) {}

  Memory memory() const override { return {buffer_.get(), 0, bytes_}; }
  void upload(const void* host, std::size_t bytes, std::size_t offset) override {
    if (bytes > 0) std::memcpy(at(bytes, offset), host, bytes);
  }
  void download(void* host, std::size_t bytes, std::size_t offset) const override {
    if (bytes > 0) std::memcpy(host, at(bytes, offset), bytes);
  }

 private:
  void* at(std::size_t bytes, std::size_t offset) const {
    if (offset > bytes_ || bytes > bytes_ - offset)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a copy of {} bytes at offset {} ends past the buffer's {} bytes",
                              bytes, offset, bytes_));
    return static_cast<std::byte*>(buffer_->contents()) + offset;
  }

  Owned<MTL::Buffer> buffer_;
  std::size_t bytes_;
};

class MetalKernel final : public gpu::Kernel {
 public:
  MetalKernel(std::string name, Owned<MTL::ComputePipelineState> pipeline)
      : name_(std::move(name)), pipeline_(std::move(pipeline)) {}

  const std::string& name() const override { return name_; }
  std::uint32_t max_threads() const override {
    return std::uint32_t(pipeline_->maxTotalThreadsPerThreadgroup());
  }
  const MTL::ComputePipelineState* pipeline() const { return pipeline_.get(); }

 private:
  std::string name_;
  Owned<MTL::ComputePipelineState> pipeline_;
};

NS::Dictionary* to_ns(const gpu::Macros& macros) {
  std::vector<const NS::Object*> names, values;
  for (const auto& [name, value] : macros) {
    names.push_back(metal::to_ns(name));
    values.push_back(metal::to_ns(value));
  }
  return NS::Dictionary::dictionary(values.data(), names.data(), names.size());
}

Owned<MTL::CompileOptions> compile_options(const gpu::Macros& macros, bool bfloat) {
  auto options = adopt(MTL::CompileOptions::alloc()->init());
  options->setPreprocessorMacros(to_ns(macros));
  options->setLanguageVersion(bfloat ? MTL::LanguageVersion3_1 : MTL::LanguageVersion3_0);
  // Metal's default is fast math, which breaks NaN and infinity and reorders sums.
  if (os_at_least(15)) {
    options->setMathMode(MTL::MathModeSafe);
    options->setMathFloatingPointFunctions(MTL::MathFloatingPointFunctionsPrecise);
  } else {
    options->setFastMathEnabled(false);
  }
  return options;
}

std::string family(MTL::Device& device) {
  const auto newest = [&](int first, int count) {
    for (int i = count; i > 0; --i)
      if (device.supportsFamily(MTL::GPUFamily(first + i - 1))) return i;
    return 0;
  };
  std::string text;
  if (const int apple = newest(MTL::GPUFamilyApple1, 10)) text = fmt::format("Apple {}", apple);
  if (device.supportsFamily(MTL::GPUFamilyMac2)) text += text.empty() ? "Mac 2" : ", Mac 2";
  const int metal = device.supportsFamily(MTL::GPUFamilyMetal4)   ? 4
                    : device.supportsFamily(MTL::GPUFamilyMetal3) ? 3
                                                                  : 2;
  return text + fmt::format("{}Metal {}", text.empty() ? "" : ", ", metal);
}

std::string gib(double bytes) { return fmt::format("{:.1f} GiB", bytes / (1 << 30)); }

class MetalRuntime final : public gpu::Runtime {
 public:
  explicit MetalRuntime(Owned<MTL::Device> device) : device_(std::move(device)) {
    limits_.threads_per_group = std::uint32_t(device_->maxThreadsPerThreadgroup().width);
    limits_.threadgroup_bytes = device_->maxThreadgroupMemoryLength();
    limits_.compute_units = std::uint32_t(std::max(1, cores_));
    limits_.bfloat = os_at_least(14);  // Metal 3.1
    limits_.rates = chip_.rates;
    placeholder_ = new_buffer(16);
  }

  DeviceInfo info() const override {
    const Pool pool;
    DeviceInfo info;
    info.name = "metal";
    info.model = to_std(device_->name());
    info.compute_units = cores_;
    info.memory_bytes = device_->recommendedMaxWorkingSetSize();
    info.facts = {
        {"OS", "macOS " + to_std(NS::ProcessInfo::processInfo()->operatingSystemVersionString())},
        {"GPU family", family(*device_)},
        {"unified memory", device_->hasUnifiedMemory() ? "yes" : "no"},
        {"recommended working set", gib(double(device_->recommendedMaxWorkingSetSize()))},
        {"longest buffer", gib(double(device_->maxBufferLength()))},
        {"estimates", chip_.basis},
        {"threadgroup memory", fmt::format("{} bytes", limits_.threadgroup_bytes)},
        {"kernels", limits_.bfloat ? "Metal 3.1, safe math" : "Metal 3.0, safe math"}};
    if (os_at_least(14)) info.facts["architecture"] = to_std(device_->architecture()->name());
    return info;
  }

  const gpu::Limits& limits() const override { return limits_; }
  bool handles_are_addresses() const override { return false; }

  std::unique_ptr<const gpu::Kernel> compile(const gpu::Source& source, const std::string& kernel,
                                             const gpu::Macros& macros) override {
    const Pool pool;
    const auto options = compile_options(macros, limits_.bfloat);
    NS::Error* error = nullptr;
    const auto library =
        adopt(device_->newLibrary(metal::to_ns(source.text), options.get(), &error));
    if (!library)
      throw Error(ErrorCode::device,
                  fmt::format("Metal's compiler refuses {}: {}", source.file, words(error)));
    const auto function = adopt(library->newFunction(metal::to_ns(kernel)));
    if (!function)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} has no kernel '{}'", source.file, kernel));
    auto pipeline = adopt(device_->newComputePipelineState(function.get(), &error));
    if (!pipeline)
      throw Error(ErrorCode::device, fmt::format("Metal makes no pipeline of kernel '{}' of {}: {}",
                                                 kernel, source.file, words(error)));
    check_threadgroup_memory(kernel, *pipeline);
    return std::make_unique<MetalKernel>(kernel, std::move(pipeline));
  }

  std::unique_ptr<Buffer> allocate(std::size_t bytes) override {
    const Pool pool;
    const auto fail = [&](const std::string& reason) {
      throw Error(ErrorCode::too_large,
                  fmt::format("a buffer of {} bytes cannot be had on this GPU: {}", bytes, reason));
    };
    if (bytes > device_->maxBufferLength())
      fail(fmt::format("its longest buffer is {} bytes", device_->maxBufferLength()));
    auto buffer = new_buffer(std::max<std::size_t>(bytes, 1));  // Metal has none of no bytes
    if (!buffer) fail("Metal gives none");
    return std::make_unique<MetalBuffer>(std::move(buffer), bytes);
  }

  std::unique_ptr<Queue> make_queue() override {
    const Pool pool;
    return std::make_unique<MetalQueue>(adopt(device_->newCommandQueue()));
  }
  std::unique_ptr<Queue> make_queue_on(void* stream) override {
    if (!stream)
      throw Error(ErrorCode::invalid_argument, "stream is null, but must be an MTL::CommandQueue*");
    return std::make_unique<MetalQueue>(retain(static_cast<MTL::CommandQueue*>(stream)));
  }

  void launch(Queue& queue, const gpu::Kernel& kernel, const gpu::LaunchShape& shape,
              std::span<const gpu::Argument> arguments) override {
    gpu::check_launch(kernel, limits_, shape, arguments);
    check_memory(kernel, arguments);
    if (shape.groups.count() == 0) return;
    static_cast<MetalQueue&>(queue).dispatch([&](MTL::ComputeCommandEncoder& encoder) {
      encoder.setComputePipelineState(static_cast<const MetalKernel&>(kernel).pipeline());
      for (std::size_t i = 0; i < arguments.size(); ++i) bind(encoder, i, arguments[i]);
      encoder.dispatchThreadgroups({shape.groups.x, shape.groups.y, shape.groups.z},
                                   {shape.threads.x, shape.threads.y, shape.threads.z});
    });
  }

  MTL::Device* device() { return device_.get(); }

 private:
  Owned<MTL::Buffer> new_buffer(std::size_t bytes) {
    return adopt(device_->newBuffer(bytes, MTL::ResourceStorageModeShared));
  }

  void check_threadgroup_memory(const std::string& kernel,
                                const MTL::ComputePipelineState& pipeline) const {
    const std::size_t needed = pipeline.staticThreadgroupMemoryLength();
    if (needed > limits_.threadgroup_bytes)
      throw Error(ErrorCode::device,
                  fmt::format("kernel '{}' needs {} bytes of threadgroup memory, but this GPU has "
                              "{}",
                              kernel, needed, limits_.threadgroup_bytes));
  }

  static void check_memory(const gpu::Kernel& kernel, std::span<const gpu::Argument> arguments) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const auto* memory = std::get_if<Memory>(&arguments[i]);
      if (!memory || !memory->handle) continue;
      const std::size_t length = static_cast<MTL::Buffer*>(memory->handle)->length();
      if (memory->offset > length || memory->bytes > length - memory->offset)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("argument {} of kernel '{}' is {} bytes at offset {}, but its "
                                "buffer has {}",
                                i, kernel.name(), memory->bytes, memory->offset, length));
    }
  }

  void bind(MTL::ComputeCommandEncoder& encoder, std::size_t i, const gpu::Argument& argument) {
    if (const auto* memory = std::get_if<Memory>(&argument)) {
      // Metal's validation wants every parameter bound, those too that a kernel leaves alone.
      const auto* buffer =
          memory->handle ? static_cast<MTL::Buffer*>(memory->handle) : placeholder_.get();
      encoder.setBuffer(buffer, memory->handle ? memory->offset : 0, i);
    } else {
      const auto bytes = std::get<gpu::Bytes>(argument);
      encoder.setBytes(bytes.data(), bytes.size(), i);
    }
  }

  Owned<MTL::Device> device_;
  Owned<MTL::Buffer> placeholder_;
  int cores_ = gpu_cores();
  ChipRates chip_ = chip_rates(to_std(device_->name()), cores_);
  gpu::Limits limits_;
};

}  // namespace

std::unique_ptr<gpu::Runtime> make_runtime() {
  const Pool pool;
  auto device = adopt(MTL::CreateSystemDefaultDevice());
  if (!device) throw Error(ErrorCode::device, "this machine has no GPU that Metal can use");
  return std::make_unique<MetalRuntime>(std::move(device));
}

void* device_object(gpu::Runtime& runtime) { return static_cast<MetalRuntime&>(runtime).device(); }

void encode(Queue& queue, const std::function<void*(void*)>& encode) {
  static_cast<MetalQueue&>(queue).encode(encode);
}

}  // namespace metalconv::metal
