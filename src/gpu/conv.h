// SPDX-License-Identifier: Apache-2.0
// A convolution by a .metal kernel: what a row's file says of its kernel, and the one PreparedConv
// that runs them all.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/registry.h"
#include "gpu/once.h"
#include "gpu/runtime.h"
#include "kernels/params.h"

namespace metalconv::gpu {

/// A kernel of a .metal file, specialised by macros: what is compiled.
struct KernelKey {
  std::string file, kernel;  ///< "direct.metal", "direct_window"
  Macros macros;

  bool operator<(const KernelKey& other) const {
    return std::tie(file, kernel, macros) < std::tie(other.file, other.kernel, other.macros);
  }
};

/// Keeps what it has compiled.
class KernelCache {
 public:
  explicit KernelCache(Runtime& runtime) : runtime_(runtime) {}
  /// Throws what Runtime::compile throws.
  const Kernel& get(const KernelKey& key);

 private:
  Runtime& runtime_;
  Once<KernelKey, const Kernel> kernels_;
};

/// How a kernel does one problem. Its arguments are x, packed weights, bias, y, ConvParams, as
/// buffers 0 to 4. With splits its y is the workspace, where it leaves as many outputs' worth of
/// f32, without bias and activation; split.metal adds them.
struct Recipe {
  KernelKey key;
  LaunchShape shape;
  PackParams packing{};
  KernelKey pack{};           ///< what packs the weights; without a file: pack.metal
  std::int64_t pack_run = 1;  ///< packed numbers that one of its threads makes
  std::int64_t splits = 1;
  std::string detail;  ///< in words, for reports: "4 x 2 pixels x 64 channels a thread"
};

/// A row's file makes one of these.
struct ConvKernel {
  std::string name;
  Implementation implementation = Implementation::optimized;
  std::string summary;
  std::vector<DType> dtypes{DType::f32, DType::f16, DType::bf16};
  std::vector<Layout> layouts{Layout::nchw, Layout::nhwc};
  /// As in KernelRow.
  Exactness exactness = Exactness::integers;
  double error_bound = 8;
  bool direct_sum = true;
  std::function<double(const ConvProblem&)> executed_flops;
  /// Empty, or why not, in words; null: everything.
  std::function<std::string(const ConvProblem&, const Limits&)> supports;
  std::function<double(const ConvProblem&, const Limits&)> cost;
  std::function<Recipe(const ConvProblem&, const Limits&)> recipe;
};

/// All of ours, in registry order (rows.cpp).
std::vector<ConvKernel> conv_kernels();

/// The row of `kernel` on a runtime; both references must outlive it.
KernelRow make_row(const ConvKernel& kernel, Runtime& runtime, KernelCache& cache);

/// Empty, or why no kernel of ours does a problem of these sizes.
std::string size_refusal(const ConvProblem& problem, const Limits& limits);

/// The kernel that packs weights for most recipes (the file may be another), and the one that adds
/// partial sums.
KernelKey pack_key(const ConvProblem& problem, const char* kernel = "pack");
KernelKey split_key(const ConvProblem& problem);
/// To launch what pack_key() names, of that many threads.
LaunchShape pack_shape(std::int64_t threads);

// ---- for the rows ----

/// What a kernel is told of the problem, without the alignments and splits.
ConvParams conv_params(const ConvProblem& problem);

/// ELEM, INDEX, NHWC, BIAS and ACTIVATION, which every convolution kernel needs.
Macros conv_macros(const ConvProblem& problem);

/// KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W, DILATION_H and DILATION_W.
Macros window_macros(const ConvProblem& problem);

/// Adds whole numbers, which replace what is there.
void define(Macros& macros, std::initializer_list<std::pair<const char*, std::int64_t>> numbers);

/// Weights in blocks of `block` output channels. Channels are padded to a multiple of `depth`.
PackParams packing(const ConvProblem& problem, std::int64_t block, std::int64_t depth,
                   bool taps_first);
std::int64_t packed_elements(const PackParams& packing);

/// A grid of that many threadgroups, spread over x and y as group_number() in conv.h expects.
Extent spread(std::int64_t groups);

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Arithmetic at `efficiency` of the peak beside the fewest bytes.
double estimated_seconds(const ConvProblem& problem, double efficiency, const Rates& rates);

}  // namespace metalconv::gpu
