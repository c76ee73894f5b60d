// SPDX-License-Identifier: Apache-2.0
// One problem on one device: guarded operands, and the plans that run on them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/data.h"
#include "metalconv/device.h"
#include "metalconv/plan.h"

namespace metalconv::bench {

/// Device memory between two canaries.
class Guarded {
 public:
  Guarded(Device& device, std::size_t bytes);
  Memory memory() const;
  std::size_t bytes() const { return bytes_; }
  void upload(const std::vector<std::byte>& host) { write(host); }
  std::vector<std::byte> download() const;
  /// Calls piece(offset, data, bytes) for all of it, some MiB at a time and in order, until one
  /// returns false.
  void read(const std::function<bool(std::size_t, const std::byte*, std::size_t)>& piece) const;
  /// Fill with 0xFF, a NaN in every dtype.
  void poison();
  /// False when either canary was overwritten.
  bool intact() const;

 private:
  void write(const std::vector<std::byte>& host);

  std::size_t bytes_;
  std::unique_ptr<Buffer> buffer_;
};

/// The operands that all implementations of a problem share.
struct Operands {
  Operands(Device& device, const ConvProblem& problem);
  /// Bytes on the device, without packed weights and workspaces.
  static double bytes(const ConvProblem& problem);

  Guarded x, w, bias, y;
};

/// A plan with its packed weights and workspace, over shared operands: the same plan, buffers and
/// weights are verified and then timed.
class Subject {
 public:
  Subject(Device& device, Queue& queue, Plan plan, Operands& operands);

  const Plan& plan() const { return plan_; }
  /// Pack the weights that are in the operands.
  void pack();
  /// Enqueue one execution on x into y; other operands of the same problem may be given.
  void execute(Operands& operands) const;
  void execute() const { execute(operands_); }

  Device& device() const { return device_; }
  Queue& queue() const { return queue_; }
  Operands& operands() const { return operands_; }
  Guarded& packed() { return packed_; }
  Guarded& workspace() { return workspace_; }

 private:
  Device& device_;
  Queue& queue_;
  Plan plan_;
  Operands& operands_;
  Guarded packed_, workspace_;
};

}  // namespace metalconv::bench
