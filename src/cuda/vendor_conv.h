// SPDX-License-Identifier: Apache-2.0
// A convolution by cuDNN, its engines chosen.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"
#include "cuda/conv_graph.h"
#include "cuda/session.h"

namespace metalconv::cuda::cudnn {

/// Addresses by TensorId.
using Operands = std::array<void*, kSum + 1>;

/// One graph with the engine that runs it.
struct Stage {
  std::shared_ptr<const ConvGraph> graph;
  EngineConfig config;
  EnginePlan plan;

  void enqueue(Session& session, Handle stream, const Operands& operands, void* workspace) const;
};

/// How a problem is done: in which layout, by one stage or by two that meet in `sum`.
struct Route {
  Layout inside = Layout::nchw;
  std::vector<std::shared_ptr<const Stage>> stages;
};

class CudnnConv final : public PreparedConv {
 public:
  /// `note` ends detail().
  CudnnConv(std::shared_ptr<Session> session, const ConvProblem& problem, Route route,
            std::string note);

  std::size_t packed_bytes() const override;
  std::size_t workspace_bytes() const override { return workspace_bytes_; }
  void pack(Queue& queue, const TensorView& w, Memory packed) const override;
  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override;
  std::string detail() const override;

 private:
  bool converts() const { return route_.inside != problem_.layout; }

  std::shared_ptr<Session> session_;
  ConvProblem problem_;
  Route route_;
  std::string note_;
  std::optional<Conversion> x_in_, y_out_, w_in_;
  // Places in the workspace; its head is the engines'.
  std::size_t x_at_ = 0, y_at_ = 0, sum_at_ = 0;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace metalconv::cuda::cudnn
