// SPDX-License-Identifier: Apache-2.0
#include "cuda/hopper/rows.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "cuda/compiler.h"
#include "cuda/runtime.h"
#include "gpu/conv.h"
#include "metalconv/error.h"
#include "msl/embedded.h"

namespace metalconv::cuda::hopper {

std::span<const EmbeddedFile> files();  // params.h and conv.cu, by CMake

namespace {

using std::int64_t;
using SharedContext = std::shared_ptr<const Context>;

constexpr int kCapability = 90;
constexpr unsigned kThreads = 128;  // of hopper_pack and hopper_split

std::string_view file(std::string_view name) {
  for (const EmbeddedFile& f : files())
    if (f.name == name) return f.text;
  throw Error(ErrorCode::invalid_argument, fmt::format("there is no kernel file '{}'", name));
}

/// What conv.cu is for one set of macros.
class Module {
 public:
  Module(const SharedContext& context, const std::vector<char>& image, std::size_t shared_bytes)
      : context_(context), module_(context, &Driver::module_unload) {
    const Current current(*context_);
    const Driver& cu = context_->driver();
    cu.call(cu.module_load, module_.receive(), static_cast<const void*>(image.data()));
    for (auto& [name, function] :
         {std::pair("hopper_conv", &conv), {"hopper_pack", &pack}, {"hopper_split", &split}})
      cu.call(cu.module_function, function, module_.get(), name);
    allow(shared_bytes);
  }

  /// As much dynamic shared memory for `conv`, or more.
  void allow(std::size_t bytes) {
    if (bytes <= allowed_) return;
    const Current current(*context_);
    const Driver& cu = context_->driver();
    cu.call(cu.function_set_attribute, conv, kMaxDynamicShared, int(bytes));
    allowed_ = bytes;
  }

  Handle conv = nullptr, pack = nullptr, split = nullptr;

 private:
  SharedContext context_;
  Owned module_;
  std::size_t allowed_ = 0;
};

/// Keeps what it has compiled. Threads that ask at once wait for each other.
class Modules {
 public:
  Modules(SharedContext context, const Places& places)
      : context_(std::move(context)), compiler_(places, context_->driver_version()) {}

  const Module& get(const Recipe& recipe, const ConvProblem& problem) {
    const std::lock_guard lock(mutex_);
    const gpu::Macros key = macros(recipe, problem);
    auto& module = modules_[key];
    if (!module)
      module = std::make_unique<Module>(
          context_, compiler_.compile(source(recipe), key, kCapability, true), recipe.shared_bytes);
    module->allow(recipe.shared_bytes);
    return *module;
  }
  const SharedContext& context() const { return context_; }

 private:
  SharedContext context_;
  Compiler compiler_;
  std::mutex mutex_;
  std::map<gpu::Macros, std::unique_ptr<Module>> modules_;
};

bool aligned(const Memory& memory, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(memory.address()) % bytes == 0;
}
DevicePointer pointer(const Memory& memory) {
  return memory.handle ? pointer_of(memory.address()) : 0;
}

class HopperConv final : public PreparedConv {
 public:
  HopperConv(const ConvProblem& problem, std::shared_ptr<Modules> modules, Recipe recipe)
      : size_(size_of(problem.dtype)),
        channels_(problem.K_per_group()),
        outputs_(problem.y_elements()),
        bias_(problem.bias),
        recipe_(std::move(recipe)),
        modules_(std::move(modules)),
        module_(modules_->get(recipe_, problem)) {}

  std::size_t packed_bytes() const override { return std::size_t(recipe_.packed_bytes); }
  std::size_t workspace_bytes() const override {
    return split() ? std::size_t(outputs_ * recipe_.params.splits) * sizeof(float) : 0;
  }

  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    launch(queue, module_.pack, recipe_.packed_bytes / int64_t(size_), {&w.memory, &packed});
  }

  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    HopperParams params = recipe_.params;
    const Memory& to = split() ? workspace : y.memory;
    const std::size_t size = split() ? sizeof(float) : size_;
    params.x_aligned = aligned(x.memory, 16);
    params.y_aligned = aligned(to, 16) && channels_ * int64_t(size) % 16 == 0;
    DevicePointer pointers[] = {pointer(x.memory), pointer(packed),
                                bias_ ? pointer(bias.memory) : 0, pointer(to)};
    void* values[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3], &params};
    start(queue, module_.conv, recipe_.groups, recipe_.threads, recipe_.shared_bytes, values);
    if (!split()) return;
    const int64_t width = recipe_.params.K % 4 == 0 ? 4 : 1;
    const Memory none;
    launch(queue, module_.split, outputs_ / width,
           {&workspace, bias_ ? &bias.memory : &none, &y.memory});
  }

  std::string detail() const override { return recipe_.detail; }

 private:
  bool split() const { return recipe_.params.splits > 1; }

  /// A kernel of one thread an item.
  void launch(Queue& queue, Handle kernel, int64_t items,
              std::initializer_list<const Memory*> memories) const {
    HopperParams params = recipe_.params;
    std::array<DevicePointer, 3> pointers{};
    std::array<void*, 4> values{};
    std::size_t count = 0;
    for (const Memory* memory : memories) {
      pointers[count] = pointer(*memory);
      values[count] = &pointers[count];
      ++count;
    }
    values[count] = &params;
    start(queue, kernel, unsigned(gpu::ceil_div(items, kThreads)), kThreads, 0, values.data());
  }

  void start(Queue& queue, Handle kernel, unsigned groups, unsigned threads, std::size_t shared,
             void** values) const {
    if (groups == 0) return;
    const Context& context = *modules_->context();
    const Current current(context);
    const Driver& cu = context.driver();
    cu.call(cu.launch, kernel, groups, 1u, 1u, threads, 1u, 1u, unsigned(shared), stream_of(queue),
            values, static_cast<void**>(nullptr));
  }

  std::size_t size_;
  int64_t channels_, outputs_;
  bool bias_;
  Recipe recipe_;
  std::shared_ptr<Modules> modules_;
  const Module& module_;
};

/// Half of what nominal_seconds() says: these were measured where others are estimated.
double cost(const ConvProblem& p) {
  const Kind kind = kind_of(p);
  const double efficiency = kind == Kind::f32 ? 2 : kind == Kind::tf32 ? 12 : 24;
  return 0.5 * gpu::nominal_seconds(p, efficiency);
}

KernelRow row(const char* name, const char* summary, bool f32,
              const std::shared_ptr<Modules>& modules, const gpu::Limits& limits) {
  KernelRow row;
  row.name = name;
  row.summary = summary;
  row.dtypes = f32 ? std::vector{DType::f32} : std::vector{DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  if (!f32) row.error_bound = kUnpromotedBound;
  row.supports = [f32, limits](const ConvProblem& p) {
    std::string reason = gpu::size_refusal(p, limits);
    if (!reason.empty()) return reason;
    if ((kind_of(p) == Kind::f32) != f32)
      return std::string(f32 ? "the kernel is for f32 in ieee precision"
                             : "the precision is ieee, the kernel multiplies f32 as tf32");
    return refusal(p);
  };
  row.cost = cost;
  row.make = [modules, limits](const ConvProblem& p) {
    return std::make_unique<const HopperConv>(p, modules, recipe(p, limits.compute_units));
  };
  return row;
}

}  // namespace

gpu::Source source(const Recipe& recipe) {
  return {"cuda/hopper/conv.cu",
          fmt::format("{}{}#line 1\n{}", file("params.h"), recipe.prelude, file("conv.cu"))};
}

gpu::Macros macros(const Recipe& recipe, const ConvProblem& problem) {
  gpu::Macros macros = recipe.macros;
  macros["BIAS"] = problem.bias ? "1" : "0";
  macros["ACTIVATION"] = std::to_string(int(problem.activation));
  return macros;
}

std::vector<KernelRow> rows(const SharedContext& context, const Places& places,
                            const gpu::Limits& limits) {
  if (context->capability() != kCapability) return {};
  const auto modules = std::make_shared<Modules>(context, places);
  return {row("hopper", "implicit matrix product by Hopper's wgmma: f16, bf16, and f32 as tf32",
              false, modules, limits),
          row("hopper_f32", "the same in f32: three tf32 products for one", true, modules, limits)};
}

}  // namespace metalconv::cuda::hopper
