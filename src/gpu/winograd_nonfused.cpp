// SPDX-License-Identifier: Apache-2.0
// winograd_nonfused.metal: Winograd's F(4x4, 3x3) around a 1x1 convolution by whatever kernel does
// that best, on Hopper its own. What lies between the passes is 2.25 times the input and the
// output, or more, so that it pays where channels are many and images small.
#include "gpu/winograd_nonfused.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gpu/scratch.h"
#include "gpu/winograd.h"

namespace metalconv::gpu {
namespace {

using std::int64_t;

// winograd_nonfused.metal's constants of the same names.
constexpr int64_t kSide = 4, kProducts = 36, kThreads = 256, kChannels = 32;

/// Tiles that go through the passes at once.
int64_t chunk_of(const ConvProblem& p, int64_t most_between) {
  const int64_t tiles = std::max<int64_t>(winograd_tiles(p, kSide), 1);
  const int64_t most = std::max<int64_t>(most_between / (kProducts * (p.C + p.K)), 1);
  return ceil_div(tiles, ceil_div(tiles, most));
}

/// The products: tiles are pixels, and each place of a tile has the problem's groups.
ConvProblem products_of(const ConvProblem& p, int64_t most_between) {
  ConvProblem products;
  products.W = chunk_of(p, most_between);
  products.C = kProducts * p.C, products.K = kProducts * p.K;
  products.groups = kProducts * p.groups;
  products.layout = Layout::nhwc;
  return products;
}

/// The kernel of the fewest estimated seconds, or null.
const KernelRow* product_row(const Registry& registry, const ConvProblem& products) {
  const KernelRow* best = nullptr;
  double least = HUGE_VAL;
  for (const KernelRow& row : registry.rows()) {
    if (row.implementation != Implementation::optimized || !row.refusal(products).empty()) continue;
    if (const double cost = row.cost(products); cost < least) least = cost, best = &row;
  }
  return best;
}

KernelKey end_key(const ConvProblem& p, const char* kernel) {
  KernelKey key{"winograd_nonfused.metal", kernel, conv_macros(p)};
  define(key.macros, {{"SIDE", kSide}, {"DILATED", p.dilation_w > 1}});
  return key;
}

KernelKey weights_key(const ConvProblem& p) {
  KernelKey key = pack_key(p, "winograd_pack");
  define(key.macros, {{"SIDE", kSide}, {"MATRICES", 1}});
  return key;
}

class Nonfused final : public PreparedConv {
 public:
  Nonfused(const ConvProblem& problem, const ConvProblem& products, const KernelRow& row,
           Runtime& runtime, KernelCache& cache)
      : problem_(problem),
        products_(products),
        tiles_(winograd_tiles(problem, kSide)),
        params_(conv_params(problem)),
        packing_(packing(problem, 1, kWinogradDepth, true)),
        row_(row),
        inner_(row.make(products_)),
        runtime_(runtime),
        weights_(cache.get(weights_key(problem))),
        input_(cache.get(end_key(problem, "winograd_input"))),
        output_(cache.get(end_key(problem, "winograd_output"))) {
    params_.x_alignment = params_.y_alignment = 1;
  }

  /// The products' weights, and before these what they are packed from.
  std::size_t packed_bytes() const override {
    return Scratch::rounded(w_bytes()) + inner_->packed_bytes();
  }
  std::size_t workspace_bytes() const override {
    return Scratch::rounded(x_bytes()) + Scratch::rounded(y_bytes()) + inner_->workspace_bytes();
  }

  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    Scratch scratch(packed);
    const Memory matrices = scratch.take(w_bytes());
    const Memory inner = scratch.take(inner_->packed_bytes());
    const int64_t pairs = problem_.K * packing_.padded_channels;
    const Argument arguments[] = {w.memory, matrices, constants(packing_)};
    runtime_.launch(queue, weights_, pack_shape(pairs), arguments);
    inner_->pack(queue, w_view(products_, matrices), inner);
  }

  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    Scratch weights(packed), scratch(workspace);
    weights.take(w_bytes());
    const Memory inner_packed = weights.take(inner_->packed_bytes());
    const Memory inputs = scratch.take(x_bytes()), sums = scratch.take(y_bytes());
    const Memory rest = scratch.take(inner_->workspace_bytes());
    for (int64_t first = 0; first < tiles_; first += products_.W) {
      const TileParams tiles{int(first), int(products_.W)};
      const Argument to[] = {x.memory, inputs, constants(params_), constants(tiles)};
      runtime_.launch(queue, input_, shape(problem_.C), to);
      inner_->execute(queue, x_view(products_, inputs), inner_packed, {}, y_view(products_, sums),
                      rest);
      // Metal wants every buffer bound.
      const Memory b = problem_.bias ? bias.memory : packed;
      const Argument back[] = {sums, b, y.memory, constants(params_), constants(tiles)};
      runtime_.launch(queue, output_, shape(problem_.K), back);
    }
  }

  bool handles_are_addresses() const override { return runtime_.handles_are_addresses(); }
  std::string detail() const override {
    return fmt::format("F(4x4) in three passes, products by {}: {}", row_.name, inner_->detail());
  }

 private:
  std::size_t w_bytes() const { return std::size_t(products_.w_bytes()); }
  std::size_t x_bytes() const { return std::size_t(products_.x_bytes()); }
  std::size_t y_bytes() const { return std::size_t(products_.y_bytes()); }

  LaunchShape shape(int64_t channels) const {
    constexpr int64_t kTiles = kThreads / kChannels;
    const int64_t groups = problem_.layout == Layout::nhwc
                               ? ceil_div(products_.W * channels, kThreads)
                               : ceil_div(products_.W, kTiles) * ceil_div(channels, kChannels);
    return {spread(groups), {std::uint32_t(kThreads)}};
  }

  ConvProblem problem_, products_;
  int64_t tiles_;
  ConvParams params_;
  PackParams packing_;
  const KernelRow& row_;
  std::unique_ptr<const PreparedConv> inner_;
  Runtime& runtime_;
  const Kernel &weights_, &input_, &output_;
};

/// Fitted to what an H100 took for 3x3 of 128, 256 and 512 channels, 64 images of 28x28, 14x14 and
/// 7x7: 115, 97 and 83 us, and 256 channels of 64x64: 34 us; of one size they are beside the
/// estimates of others. Of the products' time a quarter more goes to the ends of their tiles.
double seconds(const ConvProblem& p, double products, const Rates& rates) {
  const double between =
      double(winograd_tiles(p, kSide)) * double(kProducts * (p.C + p.K)) * sizeof(float);
  return 1.25 * products + 30e-6 +
         (double(p.x_bytes() + p.y_bytes()) + between) / (rates.bytes * rates.between);
}

}  // namespace

KernelRow winograd_nonfused_row(const Registry& registry, Runtime& runtime, KernelCache& cache,
                                int64_t most_between) {
  KernelRow row;
  row.name = "winograd_nonfused";
  row.summary =
      "3x3, many channels, f32: Winograd F(4x4) in three passes, its products by another kernel";
  row.dtypes = {DType::f32};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6, Activation::silu};
  row.exactness = Exactness::scaled;
  row.error_bound = kWinogradF4Bound;
  row.direct_sum = false;
  row.supports = [&registry, &runtime, most_between](const ConvProblem& p) -> std::string {
    std::string reason = size_refusal(p, runtime.limits());
    if (reason.empty()) reason = winograd_refusal(p);
    if (reason.empty() && winograd_tiles(p, kSide) >= (int64_t(1) << 31))
      reason = fmt::format("there are {} tiles of 4x4 outputs, but they are counted in 31 bits",
                           winograd_tiles(p, kSide));
    if (reason.empty() && !product_row(registry, products_of(p, most_between)))
      reason = "no other kernel does its products";
    return reason;
  };
  row.cost = [&registry, &runtime, most_between](const ConvProblem& p) {
    const ConvProblem products = products_of(p, most_between);
    const double chunks = double(winograd_tiles(p, kSide)) / double(products.W);
    return seconds(p, chunks * product_row(registry, products)->cost(products),
                   runtime.limits().rates);
  };
  row.executed_flops = [](const ConvProblem& p) { return winograd_flops(p, kSide); };
  row.make = [&registry, &runtime, &cache, most_between](const ConvProblem& p) {
    const ConvProblem products = products_of(p, most_between);
    return std::make_unique<const Nonfused>(p, products, *product_row(registry, products), runtime,
                                            cache);
  };
  return row;
}

std::vector<KernelKey> winograd_nonfused_keys(const ConvProblem& p) {
  if (!winograd_refusal(p).empty()) return {};
  return {weights_key(p), end_key(p, "winograd_input"), end_key(p, "winograd_output")};
}

}  // namespace metalconv::gpu
