// SPDX-License-Identifier: Apache-2.0
#include "emulator/runtime.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <optional>

#include "emulator/guarded_memory.h"
#include "emulator/headers.h"
#include "emulator/host_compiler.h"
#include "emulator/object_cache.h"
#include "metalconv/error.h"
#include "msl/msl.h"

namespace metalconv::emulator {
namespace {

/// Device memory that is alive, by address: what a launch may check the canaries of.
class LiveMemory {
 public:
  void add(const GuardedMemory& block) {
    const std::lock_guard lock(mutex_);
    blocks_[block.data()] = &block;
  }
  void remove(const GuardedMemory& block) {
    const std::lock_guard lock(mutex_);
    blocks_.erase(block.data());
  }
  GuardedMemory::Overrun overrun(void* address) const {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(address);
    return found == blocks_.end() ? GuardedMemory::Overrun::none : found->second->overrun();
  }

 private:
  mutable std::mutex mutex_;
  std::map<void*, const GuardedMemory*> blocks_;
};

constexpr std::size_t kAlignment = 256;  // as Metal and CUDA align buffers at least
/// Larger buffers are left untouched, so that tests of index arithmetic may map more than there is.
constexpr std::size_t kMaxPoisonBytes = std::size_t(1) << 30;

class EmulatorBuffer final : public Buffer {
 public:
  EmulatorBuffer(std::size_t bytes, std::shared_ptr<LiveMemory> live)
      : memory_(bytes, kAlignment), live_(std::move(live)) {
    if (bytes <= kMaxPoisonBytes) memory_.poison();
    live_->add(memory_);
  }
  ~EmulatorBuffer() override { live_->remove(memory_); }

  Memory memory() const override { return {memory_.data(), 0, memory_.bytes()}; }
  void upload(const void* host, std::size_t bytes, std::size_t offset) override {
    if (bytes > 0) std::memcpy(at(bytes, offset), host, bytes);
  }
  void download(void* host, std::size_t bytes, std::size_t offset) const override {
    if (bytes > 0) std::memcpy(host, at(bytes, offset), bytes);
  }

 private:
  void* at(std::size_t bytes, std::size_t offset) const {
    if (offset > memory_.bytes() || bytes > memory_.bytes() - offset)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a copy of {} bytes at offset {} ends past the buffer's {} bytes",
                              bytes, offset, memory_.bytes()));
    return static_cast<std::byte*>(memory_.data()) + offset;
  }

  GuardedMemory memory_;
  std::shared_ptr<LiveMemory> live_;
};

/// Work is complete when the enqueuing call returns, and its failure thrown from there.
class EmulatorQueue final : public Queue {
 public:
  void wait() override {}
  double time(const std::function<void()>& enqueue) override {
    const auto start = std::chrono::steady_clock::now();
    enqueue();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

/// A shared object that holds kernels.
class KernelObject {
 public:
  explicit KernelObject(const std::filesystem::path& path)
      : handle_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_)
      throw Error(ErrorCode::device,
                  fmt::format("a compiled kernel cannot be loaded: {}", dlerror()));
  }
  ~KernelObject() { dlclose(handle_); }
  KernelObject(const KernelObject&) = delete;
  KernelObject& operator=(const KernelObject&) = delete;

  /// Null when there is none.
  template <class T>
  T* find(const std::string& symbol) const {
    return static_cast<T*>(dlsym(handle_, symbol.c_str()));
  }

 private:
  void* handle_;
};

class EmulatorKernel final : public gpu::Kernel {
 public:
  EmulatorKernel(std::string name, std::shared_ptr<KernelObject> object,
                 const msl_abi::KernelEntry& entry, std::uint32_t device_limit)
      : name_(std::move(name)),
        object_(std::move(object)),
        entry_(entry),
        max_threads_(entry.max_threads ? std::min(entry.max_threads, device_limit) : device_limit) {
  }

  const std::string& name() const override { return name_; }
  std::uint32_t max_threads() const override { return max_threads_; }
  const msl_abi::KernelEntry& entry() const { return entry_; }

 private:
  std::string name_;
  std::shared_ptr<KernelObject> object_;
  msl_abi::KernelEntry entry_;
  std::uint32_t max_threads_;
};

std::string describe(const gpu::Extent& e) { return fmt::format("{} x {} x {}", e.x, e.y, e.z); }

/// The arguments of one launch, with inline constants in memory of their own.
class BoundArguments {
 public:
  BoundArguments(std::span<const gpu::Argument> arguments, std::size_t max_bytes) {
    if (arguments.size() > msl_abi::kMaxBuffers)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a launch has {} arguments, but a kernel has at most {}",
                              arguments.size(), msl_abi::kMaxBuffers));
    for (std::size_t i = 0; i < arguments.size(); ++i) bind(i, arguments[i], max_bytes);
  }

  const msl_abi::Arguments& arguments() const { return bound_; }

  /// Throws Error{device} when the kernel wrote outside of what it was given.
  void check(const LiveMemory& live, const std::string& kernel) const {
    for (std::size_t i = 0; i < handles_.size(); ++i) {
      const auto overrun = live.overrun(handles_[i]);
      if (overrun != GuardedMemory::Overrun::none)
        throw Error(ErrorCode::device, fmt::format("kernel '{}' wrote {} its buffer({})", kernel,
                                                   to_string(overrun), i));
    }
  }

 private:
  void bind(std::size_t i, const gpu::Argument& argument, std::size_t max_bytes) {
    if (const auto* memory = std::get_if<Memory>(&argument)) {
      bound_.buffers[i] = memory->handle ? memory->address() : nullptr;
      handles_.push_back(memory->handle);
      return;
    }
    const auto bytes = std::get<gpu::Bytes>(argument);
    if (bytes.size() > max_bytes)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("argument {} holds {} bytes of constants, but at most {} are allowed",
                              i, bytes.size(), max_bytes));
    constants_.emplace_back(bytes.size(), kAlignment);
    std::memcpy(constants_.back().data(), bytes.data(), bytes.size());
    bound_.buffers[i] = constants_.back().data();
    handles_.push_back(nullptr);
  }

  msl_abi::Arguments bound_{};
  std::vector<void*> handles_;
  std::vector<GuardedMemory> constants_;
};

class EmulatorRuntime final : public gpu::Runtime {
 public:
  explicit EmulatorRuntime(const Options& options)
      : options_(options), executor_(options.executor), cache_(options.cache) {
    limits_.threadgroup_bytes = options.executor.threadgroup_bytes;
    limits_.compute_units = options.compute_units;
  }

  DeviceInfo info() const override {
    DeviceInfo info;
    info.name = "emulator";
    info.model = "Metal kernels on CPU fibers";
    info.compute_units = executor_.threads();
    info.memory_bytes = std::size_t(sysconf(_SC_PHYS_PAGES)) * std::size_t(sysconf(_SC_PAGESIZE));
    info.timed = false;
    return info;
  }
  const gpu::Limits& limits() const override { return limits_; }

  std::unique_ptr<const gpu::Kernel> compile(const gpu::Source& source, const std::string& kernel,
                                             const gpu::Macros& macros) override {
    auto object = std::make_shared<KernelObject>(compiled(source, macros));
    const auto* entry = object->find<const msl_abi::KernelEntry>("msl_kernel_" + kernel);
    auto* services = object->find<const msl_abi::Executor*>("msl_executor");
    if (!entry || !services)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} has no kernel '{}'", source.file, kernel));
    const std::lock_guard lock(mutex_);
    // Two kernels may share an object, and one of them may be running.
    if (!*services) *services = &Threadgroup::services();
    return std::make_unique<EmulatorKernel>(kernel, std::move(object), *entry,
                                            limits_.threads_per_group);
  }

  std::unique_ptr<Buffer> allocate(std::size_t bytes) override try {
    return std::make_unique<EmulatorBuffer>(bytes, live_);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::too_large,
                fmt::format("a buffer of {} bytes cannot be allocated on the emulator", bytes));
  }

  std::unique_ptr<Queue> make_queue() override { return std::make_unique<EmulatorQueue>(); }

  void launch(Queue&, const gpu::Kernel& kernel, const gpu::LaunchShape& shape,
              std::span<const gpu::Argument> arguments) override {
    check_shape(kernel, shape);
    const BoundArguments bound(arguments, limits_.constant_bytes);
    const Work work{static_cast<const EmulatorKernel&>(kernel).entry(),
                    bound.arguments(),
                    {shape.groups.x, shape.groups.y, shape.groups.z},
                    {shape.threads.x, shape.threads.y, shape.threads.z}};
    try {
      executor_.run(work);
    } catch (const Error& error) {
      throw Error(error.code(),
                  fmt::format("kernel '{}' on the emulator: {}", kernel.name(), error.what()));
    }
    bound.check(*live_, kernel.name());
  }

 private:
  std::filesystem::path compiled(const gpu::Source& source, const gpu::Macros& macros) {
    const HostCompiler& compiler = host_compiler();
    const std::string text = program(source, macros);
    std::string key = compiler.identity() + text;
    for (const EmbeddedFile& header : kernel_headers()) key += header.text;
    return cache_.get(key, [&](const std::filesystem::path& object) {
      const auto folder = object.parent_path();
      for (const EmbeddedFile& header : kernel_headers())
        std::ofstream(folder / header.name, std::ios::binary) << header.text;
      std::ofstream(folder / "kernel.cpp", std::ios::binary) << text;
      compiler.compile(folder / "kernel.cpp", object);
    });
  }

  /// Macros come behind our own headers, whose names they may share.
  static std::string program(const gpu::Source& source, const gpu::Macros& macros) {
    std::string text = "#include \"msl_emulator.h\"\n";
    for (const auto& [name, value] : macros) text += fmt::format("#define {} {}\n", name, value);
    return text + msl::to_emulator(source.text, source.file).text;
  }

  const HostCompiler& host_compiler() {
    const std::lock_guard lock(mutex_);
    if (!compiler_) compiler_.emplace(options_.compiler);
    return *compiler_;
  }

  void check_shape(const gpu::Kernel& kernel, const gpu::LaunchShape& shape) const {
    const double threads = shape.threads.count();
    if (threads < 1 || threads > kernel.max_threads())
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("a threadgroup of kernel '{}' is {} threads, but must be 1 to {} in all",
                      kernel.name(), describe(shape.threads), kernel.max_threads()));
    const auto fits = [](std::uint32_t groups, std::uint32_t size) {
      return std::uint64_t(groups) * size <= UINT32_MAX;
    };
    if (!fits(shape.groups.x, shape.threads.x) || !fits(shape.groups.y, shape.threads.y) ||
        !fits(shape.groups.z, shape.threads.z))
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("a grid of kernel '{}' is {} threadgroups of {} threads, but a position "
                      "must fit 32 bits along each axis",
                      kernel.name(), describe(shape.groups), describe(shape.threads)));
    if (shape.groups.count() >= 0x1p63)
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("a grid of kernel '{}' is {} threadgroups, but must be below 2^63 in all",
                      kernel.name(), describe(shape.groups)));
  }

  Options options_;
  gpu::Limits limits_;
  Executor executor_;
  ObjectCache cache_;
  std::shared_ptr<LiveMemory> live_ = std::make_shared<LiveMemory>();
  std::mutex mutex_;
  std::optional<HostCompiler> compiler_;  // guarded by mutex_ until it is there
};

}  // namespace

std::unique_ptr<gpu::Runtime> make_runtime(const Options& options) {
  return std::make_unique<EmulatorRuntime>(options);
}

std::string unavailable() { return {}; }

}  // namespace metalconv::emulator
