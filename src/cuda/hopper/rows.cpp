// SPDX-License-Identifier: Apache-2.0
#include "cuda/hopper/rows.h"

#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "core/embedded.h"
#include "cuda/compiler.h"
#include "cuda/hopper/few.h"
#include "cuda/runtime.h"
#include "gpu/conv.h"
#include "gpu/once.h"
#include "metalconv/error.h"

namespace metalconv::cuda::hopper {

std::span<const EmbeddedFile> files();  // the kernels' texts, by CMake

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

/// Machine code on the device.
class Module {
 public:
  Module(const SharedContext& context, const std::vector<char>& image)
      : context_(context), module_(context, &Driver::module_unload) {
    const Current current(*context_);
    const Driver& cu = context_->driver();
    cu.call(cu.module_load, module_.receive(), static_cast<const void*>(image.data()));
  }

  Handle function(const char* name) const {
    const Current current(*context_);
    Handle function = nullptr;
    context_->driver().call(context_->driver().module_function, &function, module_.get(), name);
    return function;
  }
  /// As much dynamic shared memory for a function.
  void allow(Handle function, std::size_t bytes) const {
    const Current current(*context_);
    const Driver& cu = context_->driver();
    cu.call(cu.function_set_attribute, function, kMaxDynamicShared, int(bytes));
  }

 private:
  SharedContext context_;
  Owned module_;
};

/// A recipe's.
class ConvModule {
 public:
  ConvModule(const SharedContext& context, const std::vector<char>& image, bool sums_parts)
      : module_(context, image),
        conv(module_.function("hopper_conv")),
        pack(module_.function("hopper_pack")),
        split(sums_parts ? module_.function("hopper_split") : nullptr) {}

  /// As much dynamic shared memory for `conv`, or more.
  void allow(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes <= allowed_) return;
    module_.allow(conv, bytes);
    allowed_ = bytes;
  }

 private:
  Module module_;
  std::mutex mutex_;
  std::size_t allowed_ = 0;

 public:
  const Handle conv, pack, split;
};

/// Keeps what it has compiled.
class Modules {
 public:
  Modules(SharedContext context, const Places& places)
      : context_(std::move(context)), compiler_(places, context_->driver_version()) {}

  const ConvModule& get(const Recipe& recipe, const ConvProblem& problem) {
    const gpu::Macros key = macros(recipe, problem);
    ConvModule& module = modules_.get(key, [&] {
      return std::make_unique<ConvModule>(context_,
                                          compiler_.compile(source(recipe), key, kCapability, true),
                                          recipe.params.splits > 1);
    });
    module.allow(recipe.shared_bytes);
    return module;
  }
  std::shared_ptr<const Module> compile(const gpu::Source& text, const gpu::Macros& all) const {
    return std::make_shared<const Module>(context_,
                                          compiler_.compile(text, all, kCapability, true));
  }
  const SharedContext& context() const { return context_; }

 private:
  SharedContext context_;
  Compiler compiler_;
  gpu::Once<gpu::Macros, ConvModule> modules_;
};

bool aligned(const Memory& memory, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(memory.address()) % bytes == 0;
}
DevicePointer pointer(const Memory& memory) {
  return memory.handle ? pointer_of(memory.address()) : 0;
}

void start(const Context& context, Queue& queue, Handle kernel, unsigned groups, unsigned threads,
           std::size_t shared, void** values) {
  if (groups == 0) return;
  const Current current(context);
  const Driver& cu = context.driver();
  cu.call(cu.launch, kernel, groups, 1u, 1u, threads, 1u, 1u, unsigned(shared), stream_of(queue),
          values, static_cast<void**>(nullptr));
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
    hopper::start(*modules_->context(), queue, kernel, groups, threads, shared, values);
  }

  std::size_t size_;
  int64_t channels_, outputs_;
  bool bias_;
  Recipe recipe_;
  std::shared_ptr<Modules> modules_;
  const ConvModule& module_;
};

constexpr int kRoofColumns = 256;

RoofProbe roof(const Modules& modules, Kind kind, std::uint32_t multiprocessors) {
  constexpr int kRounds = 1000;
  constexpr std::size_t kShared = 1024 + (128 + kRoofColumns) * 128;
  const auto module = modules.compile(
      roof_source(kind),
      {{"KIND", std::to_string(int(kind))}, {"COLUMNS", std::to_string(kRoofColumns)}});
  const Handle kernel = module->function("hopper_roof");
  module->allow(kernel, kShared);
  const auto run = [module, kernel, multiprocessors, context = modules.context()](Queue& queue) {
    DevicePointer y = 0;  // nothing is written
    float none = -1;
    int rounds = kRounds;
    void* values[] = {&y, &none, &rounds};
    start(*context, queue, kernel, multiprocessors, 256, kShared, values);
  };
  // Two warpgroups, 16 products of 64 rows and 32 bytes of each a round.
  const double depth = kind == Kind::tf32 ? 8 : 16;
  const double work = 2.0 * 64 * kRoofColumns * depth * 16 * 2 * kRounds * multiprocessors;
  const char* names[] = {"matrix f16", "matrix bf16", "matrix tf32"};
  return {names[int(kind)], "wgmma, 64 x 256", 0, work, run};
}

struct RowKind {
  const char* name;
  const char* summary;
  std::vector<DType> dtypes;
  /// c of the error bound. Sums that grow in the units over a whole reduction are cut off where
  /// they are added up; the vendor's row has the same.
  double error_bound;
  std::string (*refusal)(const ConvProblem&);
  Recipe (*recipe)(const ConvProblem&, std::uint32_t multiprocessors);
};

/// Fitted beside the estimates of the shared kernels, to what an H100 took for the GPU classes. In
/// f32 it is winograd_f4 that is faster where channels are few: tiles have 64, steps have 32.
double cost(const ConvProblem& p) {
  const Kind kind = kind_of(p);
  if (kind != Kind::f32) return 0.5 * gpu::estimated_seconds(p, kind == Kind::tf32 ? 12 : 24, {});
  const int64_t k = p.K_per_group(), c = p.C_per_group();
  const double waste =
      double((gpu::ceil_div(k, 64) * 64 + 32) * gpu::ceil_div(c, 32) * 32) / double(k * c);
  return 0.75 * gpu::estimated_seconds(p, 2 / waste, {});
}

KernelRow row(const RowKind& kind, const std::shared_ptr<Modules>& modules,
              const gpu::Limits& limits) {
  KernelRow row;
  row.name = kind.name;
  row.summary = kind.summary;
  row.dtypes = kind.dtypes;
  row.layouts = {Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  row.error_bound = kind.error_bound;
  row.supports = [refusal = kind.refusal, limits](const ConvProblem& p) {
    const std::string reason = gpu::size_refusal(p, limits);
    return reason.empty() ? refusal(p) : reason;
  };
  row.cost = cost;
  row.make = [recipe = kind.recipe, modules, limits](const ConvProblem& p) {
    return std::make_unique<const HopperConv>(p, modules, recipe(p, limits.compute_units));
  };
  return row;
}

std::string low_refusal(const ConvProblem& p) {
  return kind_of(p) == Kind::f32 ? "the precision is ieee, the kernel multiplies f32 as tf32"
                                 : refusal(p);
}
std::string f32_refusal(const ConvProblem& p) {
  return kind_of(p) != Kind::f32 ? "the kernel is for f32 in ieee precision" : refusal(p);
}

const RowKind kRows[] = {
    {"hopper",
     "implicit matrix product by Hopper's wgmma: f16, bf16, and f32 as tf32",
     {DType::f32, DType::f16, DType::bf16},
     kUnpromotedBound,
     low_refusal,
     recipe},
    {"hopper_f32",
     "the same in f32: three tf32 products for one",
     {DType::f32},
     KernelRow().error_bound,
     f32_refusal,
     recipe},
    {"hopper_few",
     "few input channels in f16 and bf16: the reduction goes along rows of taps",
     {DType::f16, DType::bf16},
     kUnpromotedBound,
     few_refusal,
     few_recipe}};

}  // namespace

gpu::Source source(const Recipe& recipe) {
  std::string text = std::string(file("params.h")) + recipe.prelude;
  const auto add = [&](const char* name) {
    text += fmt::format("#line 1 \"cuda/hopper/{}\"\n{}", name, file(name));
  };
  add("numbers.cuh");
  for (const char* name : recipe.files) add(name);
  return {fmt::format("cuda/hopper/{}", recipe.files.front()), text};
}

gpu::Source roof_source(Kind kind) {
  return {"cuda/hopper/roof.cu",
          fmt::format("{}#line 1\n{}", wgmma_text(kind, kRoofColumns), file("roof.cu"))};
}

gpu::Macros macros(const Recipe& recipe, const ConvProblem& problem) {
  gpu::Macros macros = recipe.macros;
  macros["BIAS"] = problem.bias ? "1" : "0";
  macros["ACTIVATION"] = std::to_string(int(problem.activation));
  return macros;
}

Parts parts(const SharedContext& context, const Places& places, const gpu::Limits& limits) {
  if (context->capability() != kCapability) return {};
  const auto modules = std::make_shared<Modules>(context, places);
  const auto roofs = [modules, limits] {
    std::vector<RoofProbe> probes;
    for (const Kind kind : {Kind::f16, Kind::bf16, Kind::tf32})
      probes.push_back(roof(*modules, kind, limits.compute_units));
    return probes;
  };
  std::vector<KernelRow> rows;
  for (const RowKind& kind : kRows) rows.push_back(row(kind, modules, limits));
  return {std::move(rows), roofs};
}

}  // namespace metalconv::cuda::hopper
