// SPDX-License-Identifier: Apache-2.0
// The plainest correct kernel: the definition, tap by tap over one row of outputs, rows in
// parallel.
#include <algorithm>

#include "core/half.h"
#include "cpu/call.h"
#include "cpu/rows.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

float activate(Activation activation, float v) {
  if (activation == Activation::none) return v;
  if (v < 0) return 0;
  return activation == Activation::relu6 && v > 6 ? 6 : v;
}

struct F16 {
  std::uint16_t bits;
  operator float() const { return f16_to_f32(bits); }
};
struct Bf16 {
  std::uint16_t bits;
  operator float() const { return bf16_to_f32(bits); }
};

class Basic final : public PreparedConv {
 public:
  Basic(const Context& context, const ConvProblem& problem)
      : context_(context), c_(problem), Q_(problem.Q()), sums_(context.threads(), Q_) {}

  std::size_t packed_bytes() const override { return std::size_t(c_.w_elements()) * sizeof(float); }
  std::size_t workspace_bytes() const override { return sums_.bytes(); }

  void pack(Queue&, const TensorView& w, Memory packed) const override {
    auto* to = static_cast<float*>(packed.address());
    for (int64_t i = 0; i < c_.w_elements(); ++i) to[i] = element(w, i);
  }

  void execute(Queue&, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    const auto* w = static_cast<const float*>(packed.address());
    const int64_t P = c_.P();
    context_.parallel_for(c_.N * c_.K * P, [&](int64_t row) {
      const int64_t n = row / (c_.K * P), k = row / P % c_.K, p = row % P;
      float* sums = sums_.mine(workspace);
      std::fill_n(sums, Q_, c_.bias ? element(bias, k) : 0.0f);
      if (c_.dtype == DType::f32)
        add_taps<float>(x, w, n, k, p, sums);
      else if (c_.dtype == DType::f16)
        add_taps<F16>(x, w, n, k, p, sums);
      else
        add_taps<Bf16>(x, w, n, k, p, sums);
      const auto& st = y.strides;
      const int64_t first = n * st[0] + k * st[1] + p * st[2];
      for (int64_t q = 0; q < Q_; ++q)
        from_double(c_.dtype, activate(c_.activation, sums[q]), y.memory.address(),
                    first + q * st[3]);
    });
  }

  std::string detail() const override { return "plain loops"; }

 private:
  float element(const TensorView& view, int64_t i) const {
    return float(to_double(c_.dtype, view.memory.address(), i));
  }

  /// The sums of output row p; taps on the padding are left out.
  template <class T>
  void add_taps(const TensorView& x, const float* w, int64_t n, int64_t k, int64_t p,
                float* sums) const {
    const int64_t channels = c_.C_per_group(), first = k / c_.K_per_group() * channels;
    const float* tap = w + k * channels * c_.R * c_.S;
    const T* image = static_cast<const T*>(x.memory.address());
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t r = 0; r < c_.R; ++r)
        for (int64_t s = 0; s < c_.S; ++s, ++tap) {
          const int64_t h = p * c_.stride_h - c_.pad_top + r * c_.dilation_h;
          if (h < 0 || h >= c_.H) continue;
          const auto& st = x.strides;
          const T* row = image + n * st[0] + (first + c) * st[1] + h * st[2];
          add_row(row, st[3], s * c_.dilation_w - c_.pad_left, *tap, sums);
        }
  }

  /// sums[q] += tap * row[w] for w = q stride + offset, where that is inside the row.
  template <class T>
  void add_row(const T* row, int64_t step, int64_t offset, float tap, float* sums) const {
    const int64_t stride = c_.stride_w * step;
    const int64_t begin = offset < 0 ? ceil_div(-offset, c_.stride_w) : 0;
    const int64_t inside = offset < c_.W ? ceil_div(c_.W - offset, c_.stride_w) : 0;
    const int64_t end = std::min(inside, Q_);
    const int64_t start = offset * step;
    for (int64_t q = begin; q < end; ++q) sums[q] += tap * row[start + q * stride];
  }

  const Context& context_;
  ConvProblem c_;
  int64_t Q_;
  Slots sums_;  ///< of one output row
};

}  // namespace

KernelRow basic_row(const Context& context) {
  KernelRow row;
  row.name = "basic";
  row.implementation = Implementation::basic;
  row.summary = "the definition as plain loops, tap by tap over a row of outputs, rows in parallel";
  row.dtypes = {DType::f32, DType::f16, DType::bf16};
  row.layouts = {Layout::nchw, Layout::nhwc};
  row.activations = {Activation::none, Activation::relu, Activation::relu6};
  row.supports = [](const ConvProblem&) { return std::string(); };
  // The order of magnitude is all that matters here.
  row.cost = [&context](const ConvProblem& p) { return p.flops() / (5e9 * context.threads()); };
  row.make = [&context](const ConvProblem& p) { return std::make_unique<Basic>(context, p); };
  return row;
}

}  // namespace metalconv::cpu
