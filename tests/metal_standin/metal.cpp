// SPDX-License-Identifier: Apache-2.0
#include "metal_standin/metal.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <utility>

#include "emulator/runtime.h"
#include "metal_standin/control.h"
#include "metal_standin/graph.h"
#include "metalconv/error.h"

namespace metalconv::standin {
namespace {

constexpr UInteger kMaxArguments = 31, kMaxConstantBytes = 4096;

LibraryCall library_call;
std::atomic<int> commit_count{0};

struct Size {
  UInteger width, height, depth;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

gpu::Extent extent(const Size& s) {
  return {std::uint32_t(s.width), std::uint32_t(s.height), std::uint32_t(s.depth)};
}

struct ArchitectureObject : Object {
  ArchitectureObject() : Object(metal_class("MTLArchitecture")) {}
};

struct CompileOptionsObject : Object {
  CompileOptionsObject() : Object(metal_class("MTLCompileOptions")) {}
  void dispose() override { macros = {}; }
  Strong<Dictionary> macros;
  UInteger language_version = 0;
  Integer math_mode = 2, math_functions = 0;  // fast, as Metal's
};

/// A value bound to an index of the argument table.
using Constants = std::shared_ptr<std::vector<std::byte>>;
struct Bound {
  Strong<BufferObject> buffer;
  UInteger offset = 0;
  Constants constants;
};

struct ComputeEncoderObject : Object {
  explicit ComputeEncoderObject(CommandBufferObject& owner)
      : Object(metal_class("MTLComputeCommandEncoder")), command_buffer(&owner) {}
  void dispose() override {
    if (command_buffer->open_encoder == this) report_misuse("an encoder released before its end");
    command_buffer = {};
    pipeline = {};
    for (Bound& b : bound) b = {};
  }
  void dispatch(const Size& groups, const Size& threads);

  Strong<CommandBufferObject> command_buffer;
  Strong<PipelineObject> pipeline;
  Bound bound[kMaxArguments];
};

/// Binds a copy of the argument table: what is set later is for later dispatches.
void ComputeEncoderObject::dispatch(const Size& groups, const Size& threads) {
  if (!pipeline) return report_misuse("a dispatch without a pipeline state");
  for (const msl::Argument& parameter : pipeline->function->signature.buffers) {
    const Bound& b = bound[parameter.index];
    if (!b.buffer && !b.constants)
      report_misuse("a dispatch without buffer(" + std::to_string(parameter.index) + "), " +
                    parameter.name);
  }
  command_buffer->work.push_back([table = std::vector<Bound>(bound, bound + kMaxArguments),
                                  pipe = pipeline,
                                  shape = gpu::LaunchShape{extent(groups), extent(threads)}] {
    std::vector<gpu::Argument> arguments;
    for (const Bound& b : table) {
      if (b.constants) {
        arguments.emplace_back(gpu::Bytes(*b.constants));
      } else if (b.buffer) {
        Memory memory = b.buffer->memory->memory();
        memory.offset = b.offset;
        memory.bytes -= b.offset;
        arguments.emplace_back(memory);
      } else {
        arguments.emplace_back(Memory());
      }
    }
    gpu::Runtime& emulator = *pipe->function->library->device->emulator;
    const auto queue = emulator.make_queue();
    emulator.launch(*queue, *pipe->function->kernel, shape, arguments);
  });
}

gpu::Macros macros_of(const CompileOptionsObject* options) {
  gpu::Macros macros;
  if (!options || !options->macros) return macros;
  for (const auto& [key, value] : options->macros->items)
    macros[dynamic_cast<String&>(*key).text] = dynamic_cast<String&>(*value).text;
  return macros;
}

/// For one command buffer, whichever thread commits it.
std::string take_next_failure() {
  static std::mutex lock;
  const std::lock_guard hold(lock);
  return std::exchange(machine().next_commit_fails_with, {});
}

void fail(Error** out, const char* domain, Integer code, const std::string& words) {
  if (out) *out = make_autoreleased<Error>(domain, code, words);
}

/// Reports what a compiler reports: a text with an error has no library.
LibraryObject* new_library(DeviceObject* device, Selector, String* text,
                           CompileOptionsObject* options, Error** error) {
  library_call = {text->text, macros_of(options)};
  if (options) {
    library_call.language_version = options->language_version;
    library_call.safe_math = options->math_mode == 0;
    library_call.precise_functions = options->math_functions == 1;
  }
  try {
    auto library = Strong<LibraryObject>::adopt(
        new LibraryObject(*device, {"program_source", text->text}, library_call.macros));
    for (const msl::KernelSignature& kernel : library->kernels) try {
        device->emulator->compile(library->source, kernel.name, library->macros);
      } catch (const metalconv::Error& e) {
        // A kernel inside an #if that is off is not there.
        if (e.code() != ErrorCode::invalid_argument) throw;
      }
    library->retain();
    return library.get();
  } catch (const std::exception& e) {
    fail(error, "MTLLibraryErrorDomain", 3, e.what());
    return nullptr;
  }
}

FunctionObject* new_function(LibraryObject* library, Selector, String* name) {
  for (const msl::KernelSignature& kernel : library->kernels) try {
      if (kernel.name == name->text)
        return new FunctionObject(
            *library,
            library->device->emulator->compile(library->source, kernel.name, library->macros),
            kernel);
    } catch (const metalconv::Error&) {
      return nullptr;  // it is inside an #if that is off
    }
  return nullptr;
}

BufferObject* new_buffer(DeviceObject* device, Selector, UInteger bytes, UInteger) {
  if (bytes == 0) report_misuse("a buffer of no bytes");
  if (bytes > machine().longest_buffer) report_misuse("a buffer above maxBufferLength");
  return machine().out_of_memory ? nullptr : new BufferObject(*device, bytes);
}

void define_device() {
  Class& c = metal_class("MTLDevice");
  c.method(
      "name", +[](Object*, Selector) { return make_autoreleased<String>("Stand-in for Apple's"); });
  c.method(
      "architecture", +[](Object*, Selector) { return make_autoreleased<ArchitectureObject>(); },
      14);
  metal_class("MTLArchitecture")
      .method(
          "name", +[](Object*, Selector) { return make_autoreleased<String>("standin"); });
  c.method(
      "maxThreadsPerThreadgroup", +[](Object*, Selector) {
        return Size{1024, 1024, 1024};
      });
  c.method(
      "maxThreadgroupMemoryLength",
      +[](Object*, Selector) { return UInteger(machine().threadgroup_bytes); });
  c.method(
      "recommendedMaxWorkingSetSize",
      +[](Object*, Selector) { return std::uint64_t(11453251584); });
  c.method(
      "maxBufferLength", +[](Object*, Selector) { return UInteger(machine().longest_buffer); });
  c.method(
      "hasUnifiedMemory", +[](Object*, Selector) { return true; });
  c.method(
      "supportsFamily:", +[](Object*, Selector, Integer family) {
        return (family >= 1001 && family <= 1007) || family == 5001;  // Apple 1 to 7, Metal 3
      });
  c.method("newBufferWithLength:options:", &new_buffer);
  c.method(
      "newCommandQueue", +[](DeviceObject* self, Selector) { return new QueueObject(*self); });
  c.method("newLibraryWithSource:options:error:", &new_library);
  c.method(
      "newComputePipelineStateWithFunction:error:",
      +[](DeviceObject*, Selector, FunctionObject* f, Error**) { return new PipelineObject(*f); });
}

void define_resources() {
  Class& buffer = metal_class("MTLBuffer");
  buffer.method(
      "contents", +[](BufferObject* self, Selector) { return self->contents(); });
  buffer.method(
      "length", +[](BufferObject* self, Selector) { return UInteger(self->length); });

  Class& options = metal_class("MTLCompileOptions");
  options.class_method(
      "alloc", +[](Class*, Selector) { return new CompileOptionsObject; });
  options.method(
      "setPreprocessorMacros:",
      +[](CompileOptionsObject* self, Selector, Dictionary* d) { self->macros = Strong(d); });
  options.method(
      "setLanguageVersion:",
      +[](CompileOptionsObject* self, Selector, UInteger v) { self->language_version = v; });
  options.method(
      "setFastMathEnabled:", +[](CompileOptionsObject* self, Selector, bool fast) {
        self->math_mode = fast ? 2 : 0;
        self->math_functions = fast ? 0 : 1;
      });
  options.method(
      "setMathMode:",
      +[](CompileOptionsObject* self, Selector, Integer mode) { self->math_mode = mode; }, 15);
  options.method(
      "setMathFloatingPointFunctions:",
      +[](CompileOptionsObject* self, Selector, Integer f) { self->math_functions = f; }, 15);

  metal_class("MTLLibrary").method("newFunctionWithName:", &new_function);
  Class& pipeline = metal_class("MTLComputePipelineState");
  pipeline.method(
      "maxTotalThreadsPerThreadgroup", +[](PipelineObject* self, Selector) {
        return UInteger(self->function->kernel->max_threads());
      });
  pipeline.method(
      "staticThreadgroupMemoryLength", +[](PipelineObject* self, Selector) {
        return UInteger(self->function->signature.threadgroup_bytes.empty() ? 0 : 16384);
      });
}

void define_command_buffer() {
  metal_class("MTLCommandQueue")
      .method(
          "commandBuffer", +[](QueueObject* self, Selector) {
            return make_autoreleased<CommandBufferObject>(*self);
          });
  Class& c = metal_class("MTLCommandBuffer");
  c.method(
      "computeCommandEncoder", +[](CommandBufferObject* self, Selector) {
        if (self->open_encoder) report_misuse("an encoder begun before the one before it ended");
        if (self->status != CommandBufferObject::not_enqueued)
          report_misuse("an encoder begun on a committed command buffer");
        auto* encoder = make_autoreleased<ComputeEncoderObject>(*self);
        self->open_encoder = encoder;
        return encoder;
      });
  c.method(
      "commit", +[](CommandBufferObject* self, Selector) { self->commit(); });
  c.method(
      "waitUntilCompleted", +[](CommandBufferObject* self, Selector) {
        if (self->status == CommandBufferObject::not_enqueued)
          return report_misuse("a wait for a command buffer that was not committed");
        if (self->status == CommandBufferObject::committed) self->queue->run_until(self);
      });
  c.method(
      "status", +[](CommandBufferObject* self, Selector) { return self->status; });
  c.method(
      "error", +[](CommandBufferObject* self, Selector) { return self->error.get(); });
  c.method(
      "GPUStartTime", +[](CommandBufferObject* self, Selector) { return self->start; });
  c.method(
      "GPUEndTime", +[](CommandBufferObject* self, Selector) { return self->end; });
}

void define_encoder() {
  Class& c = metal_class("MTLComputeCommandEncoder");
  c.method(
      "setComputePipelineState:",
      +[](ComputeEncoderObject* self, Selector, PipelineObject* p) { self->pipeline = Strong(p); });
  c.method(
      "setBuffer:offset:atIndex:",
      +[](ComputeEncoderObject* self, Selector, BufferObject* b, UInteger offset, UInteger index) {
        if (index >= kMaxArguments) return report_misuse("setBuffer: past the argument table");
        if (b && offset > b->length) return report_misuse("setBuffer: at an offset past its end");
        self->bound[index] = {Strong(b), offset, nullptr};
      });
  c.method(
      "setBytes:length:atIndex:",
      +[](ComputeEncoderObject* self, Selector, const void* from, UInteger n, UInteger index) {
        if (index >= kMaxArguments) return report_misuse("setBytes: past the argument table");
        if (n == 0 || n > kMaxConstantBytes)
          return report_misuse("setBytes: of 0 or above 4096 bytes");
        const auto* bytes = static_cast<const std::byte*>(from);
        self->bound[index] = {{}, 0, std::make_shared<std::vector<std::byte>>(bytes, bytes + n)};
      });
  c.method(
      "dispatchThreadgroups:threadsPerThreadgroup:",
      +[](ComputeEncoderObject* self, Selector, Size groups, Size threads) {
        self->dispatch(groups, threads);
      });
  c.method(
      "endEncoding", +[](ComputeEncoderObject* self, Selector) {
        if (self->command_buffer->open_encoder != self) report_misuse("endEncoding a second time");
        self->command_buffer->open_encoder = nullptr;
      });
}

emulator::Options emulator_options() {
  emulator::Options options;
  options.executor.threads = 2;
  options.cache = std::filesystem::temp_directory_path() /
                  ("metalconv_metal_standin_" + std::to_string(getuid()));
  return options;
}

}  // namespace

Class& metal_class(const char* name) {
  Class* known = Class::look_up(name);
  return known ? *known : *new Class(name, &root_class());
}

DeviceObject::DeviceObject()
    : Object(metal_class("MTLDevice")), emulator(emulator::make_runtime(emulator_options())) {}

BufferObject::BufferObject(DeviceObject& owner, std::size_t bytes)
    : Object(metal_class("MTLBuffer")),
      device(&owner),
      memory(owner.emulator->allocate(bytes)),
      length(bytes) {}
void BufferObject::dispose() {
  memory.reset();
  device = {};
}

LibraryObject::LibraryObject(DeviceObject& owner, gpu::Source text, gpu::Macros defines)
    : Object(metal_class("MTLLibrary")),
      device(&owner),
      source(std::move(text)),
      macros(std::move(defines)),
      kernels(msl::to_emulator(source.text, source.file).kernels) {}

FunctionObject::FunctionObject(LibraryObject& owner, std::unique_ptr<const gpu::Kernel> compiled,
                               msl::KernelSignature s)
    : Object(metal_class("MTLFunction")),
      library(&owner),
      kernel(std::move(compiled)),
      signature(std::move(s)) {}
void FunctionObject::dispose() {
  kernel.reset();
  library = {};
}

PipelineObject::PipelineObject(FunctionObject& f)
    : Object(metal_class("MTLComputePipelineState")), function(&f) {}

QueueObject::QueueObject(DeviceObject& owner)
    : Object(metal_class("MTLCommandQueue")), device(&owner) {}
void QueueObject::dispose() {
  run_until(nullptr);
  device = {};
}
void QueueObject::run_until(const CommandBufferObject* last) {
  while (!pending.empty()) {
    const Strong<CommandBufferObject> first = pending.front();
    pending.erase(pending.begin());
    first->run();
    if (first.get() == last) return;
  }
}

CommandBufferObject::CommandBufferObject(QueueObject& owner)
    : Object(metal_class("MTLCommandBuffer")), queue(&owner), device(owner.device) {}
void CommandBufferObject::dispose() {
  work.clear();
  error = {};
  device = {};
}

void CommandBufferObject::commit() {
  if (open_encoder) report_misuse("a commit while an encoder is open");
  if (status != not_enqueued) return report_misuse("a second commit of a command buffer");
  ++commit_count;
  status = committed;
  failure = take_next_failure();
  queue->pending.emplace_back(this);
}

void CommandBufferObject::run() {
  start = now();
  try {
    if (!failure.empty()) throw std::runtime_error(failure);
    for (const auto& step : work) step();
  } catch (const std::exception& e) {
    error = Strong<Error>::adopt(new Error("MTLCommandBufferErrorDomain", 8, e.what()));
  }
  end = now();
  status = error ? failed : completed;
  work.clear();
}

void define_metal() {
  define_device();
  define_resources();
  define_command_buffer();
  define_encoder();
}

Machine& machine() {
  static Machine the;
  return the;
}
const LibraryCall& last_library_call() { return library_call; }
int commits() { return commit_count; }

}  // namespace metalconv::standin

namespace {

/// Before metal-cpp's own static objects ask for classes.
__attribute__((constructor(200))) void define_frameworks() {
  metalconv::standin::define_foundation();
  metalconv::standin::define_metal();
  metalconv::standin::define_graph();
}

}  // namespace

extern "C" void* MTLCreateSystemDefaultDevice();
extern "C" void* MTLCreateSystemDefaultDevice() {
  using namespace metalconv::standin;
  return machine().has_gpu ? new DeviceObject : nullptr;
}
