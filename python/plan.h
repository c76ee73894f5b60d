// SPDX-License-Identifier: Apache-2.0
// A plan with its packed weights, for several threads.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "metalconv/plan.h"
#include "tensor.h"

namespace metalconv::python {

/// The device of that name ("auto": the best here that is timed), made when it is first asked for
/// and kept until the process ends. Throws Error with the reason why it cannot be had.
Device& device(const std::string& name, int ordinal = 0);

class BoundPlan {
 public:
  BoundPlan(const std::string& device_name, int ordinal, const ConvProblem& problem,
            const PlanOptions& options);

  const Plan& plan() const { return plan_; }
  Device& on() const { return device_; }

  /// Converts the weights; the bias is kept where it lies, or copied to a device that does not see
  /// the host's memory. Waits. Not while execute() runs: it is waited for.
  void pack(const Tensor& w, const std::optional<Tensor>& bias);
  /// Forgets the weights and lets go of the bias.
  void unpack();
  /// y = act(conv(x, w) + bias). Waits. From any number of threads.
  void execute(const Tensor& x, const Tensor& y);

  /// Uninitialised and as y has to be, where x is.
  Tensor output(const Tensor& x, bool bits) const;
  /// In memory order.
  std::vector<std::int64_t> output_sizes() const;
  /// Every kernel of the device, chosen or why not, one a line.
  std::string explain() const;

 private:
  /// What one execution needs for itself.
  struct Lane {
    std::unique_ptr<Queue> queue;
    std::unique_ptr<Buffer> workspace, x, y;  // x and y: copies of what is on the host
  };
  class LaneGuard;

  std::unique_ptr<Queue> make_queue() const;
  bool sees_host() const;
  /// Where a kernel finds the tensor: its own memory, or `copy`, which is made if need be.
  Memory place(const Tensor& tensor, std::unique_ptr<Buffer>* copy) const;

  Device& device_;
  int ordinal_;
  Plan plan_;
  std::shared_mutex packing_;  // of what follows
  std::unique_ptr<Buffer> packed_, bias_copy_;
  std::optional<Tensor> bias_;
  bool is_packed_ = false;
  std::mutex lanes_mutex_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // those that rest
};

}  // namespace metalconv::python
