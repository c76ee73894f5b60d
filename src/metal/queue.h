// SPDX-License-Identifier: Apache-2.0
// A queue of command buffers, none of which is lost from sight before its status was read.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "metal/objects.h"
#include "metalconv/device.h"

namespace metalconv::metal {

/// Outside of time() each piece of work is a command buffer, committed at once: the GPU starts
/// while the caller goes on. Inside it all share one, so that no time between two of them is
/// counted.
class MetalQueue final : public Queue {
 public:
  /// Throws Error{device} for null.
  explicit MetalQueue(Owned<MTL::CommandQueue> queue);
  ~MetalQueue() override;

  void wait() override;
  double time(const std::function<void()>& enqueue) override;

  /// `encode` adds one dispatch.
  void dispatch(const std::function<void(MTL::ComputeCommandEncoder&)>& encode);
  /// As metal::encode().
  void encode(const std::function<void*(void*)>& encode);

 private:
  using CommandBuffer = Owned<MTL::CommandBuffer>;

  MTL::CommandBuffer& command_buffer();
  MTL::ComputeCommandEncoder& encoder();
  void end_encoding();
  /// Forgets what was encoded since the last commit.
  void abandon();
  void commit();
  /// Lets go of a command buffer that has ended, and keeps its failure and its times.
  void retire(const MTL::CommandBuffer& done);
  void retire_completed();
  /// Waits for everything, then throws the first failure since the last call.
  void finish();

  struct Span {
    double start, end;  // seconds on the GPU's clock
  };

  Owned<MTL::CommandQueue> queue_;
  CommandBuffer open_;  // not committed yet
  Owned<MTL::ComputeCommandEncoder> encoder_;
  std::deque<CommandBuffer> committed_;
  std::optional<std::string> failure_;
  std::optional<Span> span_;
  bool timing_ = false;
};

}  // namespace metalconv::metal
