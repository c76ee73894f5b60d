// SPDX-License-Identifier: Apache-2.0
// oneDNN as the CPU's vendor: finds the modules built from vendor_onednn.cpp, one a oneDNN version,
// and makes a row of each that opens.
#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "cpu/rows.h"
#include "cpu/system.h"
#include "cpu/vendor_api.h"
#include "metalconv/error.h"

namespace metalconv::cpu {
namespace {

namespace fs = std::filesystem;

constexpr double kPlanSeconds = 1.5;

// -- finding and opening modules --

/// Where this code is, as an executable or in a shared library, and lib/ beside it.
std::vector<std::string> search_folders() {
  std::vector<std::string> folders;
  const auto add = [&](const fs::path& file) {
    std::error_code error;
    const fs::path here = fs::canonical(file, error).parent_path();
    if (error) return;
    for (const fs::path& path : {here, here.parent_path() / "lib"})
      if (std::find(folders.begin(), folders.end(), path) == folders.end())
        folders.push_back(path.string());
  };
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&search_folders), &info)) add(info.dli_fname);
  add("/proc/self/exe");  // dladdr may know an executable by a relative name only
  return folders;
}

/// RTLD_DEEPBIND: a program that has another oneDNN among its global symbols does not disturb ours.
/// The sanitizers do not allow it.
int dlopen_mode() {
#if defined(RTLD_DEEPBIND) && !defined(METALCONV_SANITIZED)
  return RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#else
  return RTLD_NOW | RTLD_LOCAL;
#endif
}

/// An open module. It is never closed: its OpenMP threads outlive every call.
struct Module {
  const VendorApi* api;
  int (*get_threads)();      ///< of the OpenMP that the module runs on; null when it has none
  void (*set_threads)(int);  ///< likewise; per calling thread
};

std::optional<Module> open_module(const std::string& file, const std::string& isa,
                                  std::vector<std::string>* notes) {
  const auto folders = search_folders();
  const auto found = std::find_if(folders.begin(), folders.end(), [&](const std::string& folder) {
    return fs::exists(fs::path(folder) / file);
  });
  if (found == folders.end()) {
    notes->push_back(fmt::format("{} is not in {}", file, fmt::join(folders, " or ")));
    return {};
  }
  const std::string path = fs::path(*found) / file;
  // OpenMP threads that spin after a call slow down whoever runs next by up to 1.7x. The policy is
  // read once, when the OpenMP library is loaded, and we do not link it: this is the moment.
  setenv("OMP_WAIT_POLICY", "passive", 0);
  setenv("GOMP_SPINCOUNT", "0", 0);
  void* handle = dlopen(path.c_str(), dlopen_mode());
  auto* entry = handle ? reinterpret_cast<VendorEntry*>(dlsym(handle, kVendorEntry)) : nullptr;
  if (!entry) {
    const char* error = dlerror();
    notes->push_back(fmt::format("{} does not open: {}", path, error ? error : "no reason given"));
    return {};
  }
  const VendorApi* api = entry(isa.c_str());
  if (api->abi != kVendorAbi) {
    notes->push_back(fmt::format("{} is of another build", path));
    return {};
  }
  return Module{api, reinterpret_cast<int (*)()>(dlsym(handle, "omp_get_max_threads")),
                reinterpret_cast<void (*)(int)>(dlsym(handle, "omp_set_num_threads"))};
}

/// The number of OpenMP threads, for the calls of this thread while it lives.
class ThreadCount {
 public:
  ThreadCount(const Module& module, int threads)
      : set_(module.get_threads ? module.set_threads : nullptr),
        before_(set_ ? module.get_threads() : 0) {
    if (set_) set_(threads);
  }
  ~ThreadCount() {
    if (set_) set_(before_);
  }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  void (*set_)(int);
  int before_;
};

// -- the kernel --

/// N = 0 never reaches oneDNN: it is planned as one image, and Plan executes nothing.
VendorRequest request_for(const ConvProblem& problem) {
  VendorRequest request{problem, problem.P(), problem.Q(), available_memory() / 2, kPlanSeconds};
  if (problem.N == 0) {
    request.problem.N = 1;
    request.seconds = 0;
  }
  return request;
}

const float* floats(const TensorView& view) {
  return static_cast<const float*>(view.memory.address());
}

class Vendor final : public PreparedConv {
 public:
  Vendor(const Context& context, const Module& module, const ConvProblem& problem)
      : context_(context), module_(module), problem_(problem) {
    const VendorRequest request = request_for(problem);
    VendorPlan* plan = nullptr;
    call("plan", [&](VendorMessage* failure) { return api().plan(&request, &plan, failure); });
    plan_.reset(plan);
    facts_ = api().facts(plan);
  }

  std::size_t packed_bytes() const override { return facts_.packed_bytes; }
  std::size_t workspace_bytes() const override { return facts_.workspace_bytes; }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    call("pack the weights of", [&](VendorMessage* failure) {
      return api().pack(plan_.get(), floats(w), packed.address(), failure);
    });
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    call("execute", [&](VendorMessage* failure) {
      return api().execute(plan_.get(), floats(x), packed.address(),
                           problem_.bias ? floats(bias) : nullptr,
                           static_cast<float*>(y.memory.address()), workspace.address(), failure);
    });
  }

  std::string detail() const override {
    std::string text = fmt::format("oneDNN {}, {}", api().version, facts_.detail);
    if (*api().isa && api().isa != context_.isa())
      text += fmt::format("; {} in this process, not {}", api().isa, context_.isa());
    if (!module_.set_threads) text += "; its threads are not OpenMP's and cannot be counted";
    return text;
  }

 private:
  const VendorApi& api() const { return *module_.api; }

  template <class Function>
  void call(const char* what, const Function& function) const {
    const ThreadCount threads(module_, context_.threads());
    VendorMessage failure{};
    if (!function(&failure))
      throw Error(ErrorCode::device, fmt::format("oneDNN {} cannot {} {}: {}", api().version, what,
                                                 to_text(problem_), failure.text));
  }

  const Context& context_;
  Module module_;
  ConvProblem problem_;
  struct Destroy {
    void (*destroy)(VendorPlan*);
    void operator()(VendorPlan* plan) const { destroy(plan); }
  };
  std::unique_ptr<VendorPlan, Destroy> plan_{nullptr, {module_.api->destroy}};
  VendorFacts facts_{};
};

KernelRow vendor_row(const Context& context, const Module& module) {
  KernelRow row;
  row.name = fmt::format("onednn-{}", module.api->version);
  row.implementation = Implementation::vendor;
  row.summary = "oneDNN's fastest way for the problem, found by measuring all that it offers";
  row.dtypes = {DType::f32};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.exactness = Exactness::none;
  // Its Winograd F(4x4): 122 at worst over the 3e7 outputs of 1x1x600x800,k64,3x3,p1, 35 with 3
  // input channels, under 13 from 16 on. Its direct ways: under 5.
  row.error_bound = 256;
  // The way chosen varies with what was measured, and its blocking with the number of threads.
  row.deterministic = false;
  row.direct_sum = false;
  row.supports = [&context, module](const ConvProblem& problem) -> std::string {
    const ThreadCount threads(module, context.threads());
    const VendorRequest request = request_for(problem);
    VendorMessage reason{};
    return module.api->supports(&request, &reason) ? "" : reason.text;
  };
  // 4e10 operations a second and thread: the order of magnitude on Zen 4.
  row.cost = [&context](const ConvProblem& problem) {
    return 1e-5 + problem.flops() / (4e10 * context.threads());
  };
  row.make = [&context, module](const ConvProblem& problem) {
    return std::make_unique<Vendor>(context, module, problem);
  };
  return row;
}

}  // namespace

std::vector<KernelRow> vendor_rows(const Context& context, std::vector<std::string>* notes) {
  std::vector<KernelRow> rows;
  for (const std::string file : {METALCONV_ONEDNN_MODULES}) {
    const auto module = open_module(file, context.isa(), notes);
    if (!module) continue;
    KernelRow row = vendor_row(context, *module);
    const auto same = [&](const KernelRow& other) { return other.name == row.name; };
    if (std::none_of(rows.begin(), rows.end(), same)) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace metalconv::cpu
