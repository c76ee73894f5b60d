// SPDX-License-Identifier: Apache-2.0
// One row a kernel: everything that commands, tests, benchmark and planner need to know of it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "metalconv/plan.h"

namespace metalconv {

/// On which data a kernel must equal the float64 oracle bit for bit.
enum class Exactness {
  integers,  ///< small integers whose sums are exact in f32: any direct sum
  scaled,    ///< the same with weights that are multiples of 576 (Winograd F(4x4))
  none,      ///< never promised (vendors whose algorithm is not known)
};
std::string_view to_string(Exactness);

/// A problem prepared by one kernel. Views have been checked by Plan: dense, right sizes, aligned
/// to their element. Same contract as Plan.
class PreparedConv {
 public:
  virtual ~PreparedConv() = default;
  virtual std::size_t packed_bytes() const = 0;
  virtual std::size_t workspace_bytes() const { return 0; }
  virtual void pack(Queue& queue, const TensorView& w, Memory packed) const = 0;
  virtual void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
                       const TensorView& y, Memory workspace) const = 0;
  /// False where Memory::handle is an object, not an address (metal).
  virtual bool handles_are_addresses() const { return true; }
  /// What ran, in the kernel's own words, for reports: "avx512, 8 x 32 tile", "oneDNN 2.6.3 jit
  /// ...".
  virtual std::string detail() const { return {}; }
};

struct KernelRow {
  std::string name;  ///< unique within its implementation: "direct"
  Implementation implementation = Implementation::optimized;
  std::string summary;  ///< one line on how it works
  std::vector<DType> dtypes;
  std::vector<Layout> layouts;
  std::vector<Activation> activations;
  Exactness exactness = Exactness::integers;
  double error_bound = 8;  ///< c in |y - ref| <= (2 u_in + c u_acc) S L + half an ulp of the output
  bool deterministic = true;  ///< the same bits from run to run and for any number of threads
  bool direct_sum = true;     ///< NaN and infinity reach exactly the outputs whose sums hold them
  /// Empty when the kernel does the problem, else the reason in words. Called after dtype, layout
  /// and activation were found in the lists above; no tensor, x with its padding, is above 2^47
  /// bytes.
  std::function<std::string(const ConvProblem&)> supports;
  /// Estimated seconds; the planner takes the cheapest row of an implementation.
  std::function<double(const ConvProblem&)> cost;
  /// Operations that the kernel executes (Winograd: fewer than direct); null: problem.flops().
  std::function<double(const ConvProblem&)> executed_flops;
  std::function<std::unique_ptr<const PreparedConv>(const ConvProblem&)> make;

  /// The full answer: lists and size, then `supports`.
  std::string refusal(const ConvProblem&) const;
};

/// The kernels of one device, in the order they were added.
class Registry {
 public:
  void add(KernelRow row);
  const std::deque<KernelRow>& rows() const { return rows_; }
  /// Null when there is none.
  const KernelRow* find(Implementation, std::string_view name) const;

 private:
  std::deque<KernelRow> rows_;  // addresses of rows stay valid
};

}  // namespace metalconv
