// SPDX-License-Identifier: Apache-2.0
#include "gpu/turned.h"

#include <fmt/format.h>

#include "gpu/scratch.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

constexpr int64_t kTile = 64;
constexpr std::uint32_t kThreads = 256;

ConvProblem in_nhwc(ConvProblem problem) {
  problem.layout = Layout::nhwc;
  return problem;
}

class Turned final : public PreparedConv {
 public:
  Turned(const ConvProblem& problem, std::unique_ptr<const PreparedConv> inner, Runtime& runtime,
         KernelCache& cache)
      : nhwc_(in_nhwc(problem)),
        inner_(std::move(inner)),
        runtime_(runtime),
        turn_(cache.get(turn_key(problem))) {}

  std::size_t packed_bytes() const override { return inner_->packed_bytes(); }
  std::size_t workspace_bytes() const override {
    return Scratch::rounded(x_bytes()) + Scratch::rounded(y_bytes()) + inner_->workspace_bytes();
  }
  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    inner_->pack(queue, w, packed);
  }
  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    Scratch scratch(workspace);
    const Memory x_pixels = scratch.take(x_bytes()), y_pixels = scratch.take(y_bytes());
    const Memory rest = scratch.take(inner_->workspace_bytes());
    const int N = int(nhwc_.N);
    turn(queue, x.memory, x_pixels, {N, int(nhwc_.C), int(nhwc_.H * nhwc_.W)});
    inner_->execute(queue, x_view(nhwc_, x_pixels), packed, bias, y_view(nhwc_, y_pixels), rest);
    turn(queue, y_pixels, y.memory, {N, int(nhwc_.P() * nhwc_.Q()), int(nhwc_.K)});
  }
  bool handles_are_addresses() const override { return runtime_.handles_are_addresses(); }
  std::string detail() const override {
    return fmt::format("{}, turned to NHWC and back", inner_->detail());
  }

 private:
  std::size_t x_bytes() const { return std::size_t(nhwc_.x_bytes()); }
  std::size_t y_bytes() const { return std::size_t(nhwc_.y_bytes()); }

  void turn(Queue& queue, const Memory& from, const Memory& to, const TurnParams& matrices) const {
    const int64_t squares =
        matrices.matrices * ceil_div(matrices.rows, kTile) * ceil_div(matrices.columns, kTile);
    if (squares == 0) return;
    const Argument arguments[] = {from, to, constants(matrices)};
    runtime_.launch(queue, turn_, {spread(squares), {kThreads}}, arguments);
  }

  ConvProblem nhwc_;
  std::unique_ptr<const PreparedConv> inner_;
  Runtime& runtime_;
  const Kernel& turn_;
};

/// Two launches, and both tensors read and written once more: an H100 took 2.2 to 2.8 TB/s, which
/// is 1.5 times what the other kernels' estimates make of their bytes.
double seconds_to_turn(const ConvProblem& problem, const Rates& rates) {
  return 20e-6 + 2.0 / 1.5 * double(problem.x_bytes() + problem.y_bytes()) / rates.bytes;
}

}  // namespace

KernelKey turn_key(const ConvProblem& problem) {
  const Macros all = conv_macros(problem);
  return {"turn.metal",
          "turn",
          {{"ELEM", all.at("ELEM")},
           {"INDEX", all.at("INDEX")},
           {"TILE", std::to_string(kTile)},
           {"THREADS", std::to_string(kThreads)}}};
}

KernelRow with_nchw(KernelRow row, Runtime& runtime, KernelCache& cache) {
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.supports = [inner = row.supports](const ConvProblem& p) { return inner(in_nhwc(p)); };
  row.cost = [inner = row.cost, &runtime](const ConvProblem& p) {
    const double turning =
        p.layout == Layout::nchw ? seconds_to_turn(p, runtime.limits().rates) : 0;
    return inner(in_nhwc(p)) + turning;
  };
  row.make = [inner = row.make, &runtime,
              &cache](const ConvProblem& p) -> std::unique_ptr<const PreparedConv> {
    if (p.layout == Layout::nhwc) return inner(p);
    return std::make_unique<const Turned>(p, inner(in_nhwc(p)), runtime, cache);
  };
  return row;
}

}  // namespace metalconv::gpu
