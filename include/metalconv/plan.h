// SPDX-License-Identifier: Apache-2.0
// Plan: a problem prepared on a device, and why its kernel was chosen.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metalconv/device.h"
#include "metalconv/problem.h"
#include "metalconv/tensor.h"
#include "metalconv/wisdom.h"

namespace metalconv {

/// The role of a kernel: the plainest correct one, ours as fast as it goes, the vendor's library.
enum class Implementation { basic, optimized, vendor };
/// "basic", "optimized", "vendor".
std::string_view to_string(Implementation);
/// Parse such a name. Throws Error{invalid_argument} that lists them.
Implementation parse_implementation(std::string_view);

/// What make_plan can be told.
struct PlanOptions {
  Implementation implementation = Implementation::optimized;  ///< whose kernels
  /// The name of a kernel (registry row) of that implementation; empty: the planner chooses.
  std::string kernel;
  /// Measured choices that override the planner's estimate, but never a named `kernel`; may be
  /// null.
  const Wisdom* wisdom = nullptr;
  /// Choices that were measured elsewhere on such hardware: they come after `wisdom` and before the
  /// estimate. Empty: none.
  std::span<const Wisdom> shipped = shipped_choices();
};

struct KernelRow;    // src/core/registry.h
class PreparedConv;  // src/core/registry.h

/// A problem prepared on a device: kernel chosen and compiled, workspace sized. Immutable; the
/// device must outlive it.
class Plan {
 public:
  /// For make_plan.
  Plan(ConvProblem problem, const KernelRow& row, std::unique_ptr<const PreparedConv> prepared);
  ~Plan();
  Plan(Plan&&) noexcept;             ///< the other may only be destroyed or assigned to
  Plan& operator=(Plan&&) noexcept;  ///< likewise

  /// What it computes.
  const ConvProblem& problem() const { return problem_; }
  /// The kernel's row in the device's registry.
  const KernelRow& row() const { return *row_; }
  /// Name of the kernel, e.g. "direct".
  std::string_view kernel() const;
  /// What will run, in the kernel's own words, for reports.
  std::string detail() const;

  std::size_t packed_bytes() const;     ///< size of the packed weights
  std::size_t workspace_bytes() const;  ///< scratch of one execution

  /// What `packed` and a workspace must begin on a multiple of; a device's buffers do.
  static constexpr std::size_t kAlignment = 64;

  /// Enqueue the conversion of w (K, C/groups, R, S, dense, the problem's dtype) to the kernel's
  /// own form in `packed`, of packed_bytes(). Both must live until the queue was waited for. Throws
  /// Error{invalid_argument} for a view or memory that does not fit.
  void pack(Queue& queue, const TensorView& w, Memory packed) const;

  /// Enqueue y = act(conv(x, w) + bias). Allocates no buffer, does not wait, and may be called from
  /// several threads with different workspaces and queues. Views must be dense in the problem's
  /// layout and aligned to their elements, and what is written (y, workspace) must overlap nothing;
  /// `bias` is ignored unless the problem has one. Anything else throws Error{invalid_argument}.
  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const;

 private:
  ConvProblem problem_;
  const KernelRow* row_;
  std::unique_ptr<const PreparedConv> prepared_;
};

/// Prepare `problem` on `device`. Throws Error{unsupported} with each kernel's reason when none of
/// the implementation's kernels does the problem.
Plan make_plan(Device& device, const ConvProblem& problem, const PlanOptions& options = {});

/// What the planner went by.
enum class ChoiceRule { estimate, shipped, measurement };
/// "estimate", "shipped choice", "measurement".
std::string_view to_string(ChoiceRule);

/// What the planner thinks of one kernel for a problem.
struct Candidate {
  const KernelRow* row = nullptr;  ///< of the device's registry
  std::string refusal;             ///< why it does not apply; empty when it does
  double cost = 0;      ///< the planner's estimate in seconds on this device; orders candidates
  bool chosen = false;  ///< the one that its implementation would run
  ChoiceRule rule = ChoiceRule::estimate;  ///< of the chosen one: why it was chosen
  std::optional<double> measured_us =
      std::nullopt;  ///< its time in microseconds where the wisdom has it
  /// Of the chosen one: what chose it, null by estimate. Lives as long as the caller's.
  const Wisdom* wisdom = nullptr;
};
/// Every row of the device's registry, in registry order. Of `optimized` the row that won in
/// `wisdom` is chosen; where the wisdom has nothing on this device and problem, or its row is gone,
/// refuses the problem or is only for when it is named (infinite cost), the one that won in
/// `shipped`, likewise; else the cheapest by estimate.
std::vector<Candidate> explain(Device& device, const ConvProblem& problem,
                               const Wisdom* wisdom = nullptr,
                               std::span<const Wisdom> shipped = shipped_choices());

/// The convenience layer: one convolution on host memory, dense tensors, any device. `bias` is
/// null when the problem has none. Allocates, copies and waits.
void conv2d(Device& device, const ConvProblem& problem, const void* x, const void* w,
            const void* bias, void* y, const PlanOptions& options = {});

}  // namespace metalconv
