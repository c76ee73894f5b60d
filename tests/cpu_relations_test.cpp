// SPDX-License-Identifier: Apache-2.0
// What must hold between convolutions, whatever the oracle says: every kernel of ours, on every
// instruction set, is compared with itself on a problem that has to give the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <vector>

#include "bench/data.h"
#include "bench/verify.h"
#include "conv_cases.h"
#include "core/half.h"
#include "metalconv/plan.h"

namespace metalconv::test {
namespace {

using std::int64_t;
using std::size_t;
using Floats = std::vector<float>;

/// A float tensor in logical order, whatever its memory order.
class Grid {
 public:
  explicit Grid(const TensorView& view) : view_(view), data_(size_t(elements())) {}

  float& operator()(int64_t a, int64_t b, int64_t c, int64_t d) {
    const auto& s = view_.strides;
    return data_[size_t(a * s[0] + b * s[1] + c * s[2] + d * s[3])];
  }
  float operator()(int64_t a, int64_t b, int64_t c, int64_t d) const {
    return const_cast<Grid&>(*this)(a, b, c, d);
  }
  int64_t size(int axis) const { return view_.sizes[size_t(axis)]; }
  const float* data() const { return data_.data(); }
  float* data() { return data_.data(); }

  /// Every element becomes value(its indices).
  template <class Value>
  Grid& set(const Value& value) {
    for (int64_t a = 0; a < size(0); ++a)
      for (int64_t b = 0; b < size(1); ++b)
        for (int64_t c = 0; c < size(2); ++c)
          for (int64_t d = 0; d < size(3); ++d) (*this)(a, b, c, d) = value(a, b, c, d);
    return *this;
  }

  /// Bit for bit, but for the sign of zero.
  bool operator==(const Grid& other) const {
    return view_.sizes == other.view_.sizes && data_ == other.data_;
  }

 private:
  int64_t elements() const {
    int64_t count = 1;
    for (int64_t size : view_.sizes) count *= size;
    return count;
  }
  TensorView view_;
  Floats data_;
};

Grid x_grid(const ConvProblem& p) { return Grid(x_view(p, {})); }
Grid w_grid(const ConvProblem& p) { return Grid(w_view(p, {})); }
Grid y_grid(const ConvProblem& p) { return Grid(y_view(p, {})); }

/// A small integer that depends on all four indices.
float integer(int64_t seed, int64_t a, int64_t b, int64_t c, int64_t d) {
  const auto mixed = std::uint64_t(seed + a * 7919 + b * 104729 + c * 1299709 + d * 15485863 + 1) *
                     0x9E3779B97F4A7C15u;
  return float(int64_t(mixed >> 40) % 7 - 3);
}

/// One kernel on one device, and data on which it promises exact sums.
class Kernel {
 public:
  Kernel(Device& device, const KernelRow& row) : device_(device), row_(row) {}

  const KernelRow& row() const { return row_; }

  Grid x(const ConvProblem& p, int64_t seed = 1) const {
    return x_grid(p).set([&](auto... i) { return integer(seed, i...); });
  }
  Grid w(const ConvProblem& p, int64_t seed = 2) const {
    return w_grid(p).set([&](auto... i) { return scale() * integer(seed, i...); });
  }
  /// What weights are multiples of.
  float scale() const { return row_.exactness == Exactness::scaled ? 576.0f : 1.0f; }

  /// By this kernel, or by the planner's choice where it does not do `p`.
  Grid operator()(const ConvProblem& p, const Grid& xs, const Grid& ws,
                  const Floats& bias = {}) const {
    Grid y = y_grid(p);
    const bool does = row_.refusal(p).empty();
    conv2d(device_, p, xs.data(), ws.data(), bias.empty() ? nullptr : bias.data(), y.data(),
           does ? PlanOptions{row_.implementation, row_.name} : PlanOptions{});
    return y;
  }

 private:
  Device& device_;
  const KernelRow& row_;
};

/// Problems without bias and activation that `row` does: some of these, else any that it takes.
const std::vector<ConvProblem>& bases(const KernelRow& row, Layout layout) {
  static std::map<std::pair<const KernelRow*, Layout>, std::vector<ConvProblem>> known;
  const auto [entry, is_new] = known.try_emplace({&row, layout});
  std::vector<ConvProblem>& found = entry->second;
  if (!is_new) return found;
  const auto add = [&](ConvProblem p) {
    p.layout = layout, p.bias = false, p.activation = Activation::none;
    if (found.size() < 4 && row.refusal(p).empty()) found.push_back(p);
  };
  for (const char* text : {"2x6x9x14,k8,3x3,p1", "2x6x9x14,k6,3x3,p1,g6", "1x20x8x35,k12,3x3,p1,g2",
                           "3x5x12x17,k7,5x3,s2x1,p2x1,d1x2", "1x9x7x6,k18,3x3,p1,g9"})
    add(parse_problem(text));
  for (const ConvProblem& p : problems_for(row, layout, 4)) add(p);
  return found;
}

using Relation = std::function<void(const Kernel&, const ConvProblem&)>;

void for_every_kernel(const Relation& relation) {
  for (const std::string& isa : cpu_isas()) {
    Device& device = cpu_device(isa, 2);
    for (const KernelRow* row : our_rows(device)) {
      if (row->exactness == Exactness::none) continue;
      for (const Layout layout : row->layouts)
        for (const ConvProblem& p : bases(*row, layout)) {
          SCOPED_TRACE(bench::reproducer(p, device, *row, cpu_flags(isa, 2)));
          relation(Kernel(device, *row), p);
          if (testing::Test::HasFailure()) return;
        }
    }
  }
}

TEST(Relations, HaveProblemsForEveryKernel) {
  for (const KernelRow* row : our_rows(cpu_device(cpu_isas().front(), 2)))
    for (const Layout layout : row->layouts) EXPECT_GE(bases(*row, layout).size(), 2u) << row->name;
}

// ---- linear

TEST(Relations, LinearInTheInput) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid a = conv.x(p, 1), b = conv.x(p, 5), w = conv.w(p);
    const Grid ya = conv(p, a, w), yb = conv(p, b, w);
    const Grid sum = x_grid(p).set([&](auto... i) { return a(i...) + 2 * b(i...); });
    EXPECT_EQ(conv(p, sum, w), y_grid(p).set([&](auto... i) { return ya(i...) + 2 * yb(i...); }));
  });
}

TEST(Relations, LinearInTheWeights) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid x = conv.x(p), a = conv.w(p, 1), b = conv.w(p, 5);
    const Grid ya = conv(p, x, a), yb = conv(p, x, b);
    const Grid sum = w_grid(p).set([&](auto... i) { return 3 * a(i...) - b(i...); });
    EXPECT_EQ(conv(p, x, sum), y_grid(p).set([&](auto... i) { return 3 * ya(i...) - yb(i...); }));
  });
}

TEST(Relations, BiasAndActivationComeAfter) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    const Grid x = conv.x(p), w = conv.w(p), plain = conv(p, x, w);
    Floats bias(size_t(p.K));
    for (int64_t k = 0; k < p.K; ++k) bias[size_t(k)] = integer(3, k, 0, 0, 0);
    p.bias = true;
    const auto with_bias = [&](int64_t n, int64_t k, int64_t r, int64_t c) {
      return plain(n, k, r, c) + bias[size_t(k)];
    };
    EXPECT_EQ(conv(p, x, w, bias), y_grid(p).set(with_bias));
    for (const Activation a : conv.row().activations) {
      p.activation = a;
      if (a == Activation::silu) continue;  // no integers
      const float most = a == Activation::relu6 ? 6 : std::numeric_limits<float>::infinity();
      const float least = a == Activation::none ? -most : 0;
      EXPECT_EQ(conv(p, x, w, bias), y_grid(p).set([&](auto... i) {
        return a == Activation::none ? with_bias(i...) : std::clamp(with_bias(i...), least, most);
      })) << to_string(a);
    }
  });
}

// ---- places

/// Where every tap reads inside both images, an output moves with the input.
TEST(Relations, ShiftedInputShiftedOutput) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid x = conv.x(p), w = conv.w(p);
    const Grid right = x_grid(p).set([&](int64_t n, int64_t c, int64_t h, int64_t v) {
      return v < p.stride_w ? 1.0f : x(n, c, h, v - p.stride_w);
    });
    const Grid down = x_grid(p).set([&](int64_t n, int64_t c, int64_t h, int64_t v) {
      return h < p.stride_h ? 1.0f : x(n, c, h - p.stride_h, v);
    });
    const Grid y = conv(p, x, w), y_right = conv(p, right, w), y_down = conv(p, down, w);
    const auto inside = [](int64_t out, int64_t stride, int64_t pad, int64_t dilation, int64_t taps,
                           int64_t size) {
      const int64_t first = out * stride - pad;
      return first >= stride && first + (taps - 1) * dilation < size;
    };
    for (int64_t n = 0; n < p.N; ++n)
      for (int64_t k = 0; k < p.K; ++k)
        for (int64_t r = 0; r < p.P(); ++r)
          for (int64_t c = 0; c < p.Q(); ++c) {
            if (c > 0 && inside(c, p.stride_w, p.pad_left, p.dilation_w, p.S, p.W)) {
              ASSERT_EQ(y_right(n, k, r, c), y(n, k, r, c - 1)) << r << " " << c;
            }
            if (r > 0 && inside(r, p.stride_h, p.pad_top, p.dilation_h, p.R, p.H)) {
              ASSERT_EQ(y_down(n, k, r, c), y(n, k, r - 1, c)) << r << " " << c;
            }
          }
  });
}

/// One tap of weight 1 copies the input from where it points.
TEST(Relations, ADeltaCopiesTheInput) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid x = conv.x(p);
    for (const auto& [r, s] : {std::pair(int64_t(0), int64_t(0)), std::pair(p.R / 2, p.S / 2),
                               std::pair(p.R - 1, p.S - 1)}) {
      const auto channel = [&](int64_t k) { return k % p.C_per_group(); };
      const Grid w = w_grid(p).set([&, r = r, s = s](int64_t k, int64_t c, int64_t i, int64_t j) {
        return i == r && j == s && c == channel(k) ? conv.scale() : 0.0f;
      });
      const auto expected = [&, r = r, s = s](int64_t n, int64_t k, int64_t i, int64_t j) {
        const int64_t h = i * p.stride_h - p.pad_top + r * p.dilation_h;
        const int64_t v = j * p.stride_w - p.pad_left + s * p.dilation_w;
        const int64_t c = k / p.K_per_group() * p.C_per_group() + channel(k);
        return h < 0 || h >= p.H || v < 0 || v >= p.W ? 0.0f : conv.scale() * x(n, c, h, v);
      };
      ASSERT_EQ(conv(p, x, w), y_grid(p).set(expected)) << "tap " << r << " " << s;
    }
  });
}

TEST(Relations, PaddingIsZerosAroundTheInput) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    p.pad_top += 1, p.pad_right += 2;  // uneven
    ConvProblem wide = p;
    wide.H += p.pad_top + p.pad_bottom, wide.W += p.pad_left + p.pad_right;
    wide.pad_top = wide.pad_left = wide.pad_bottom = wide.pad_right = 0;
    const Grid x = conv.x(p), w = conv.w(p);
    const Grid around = x_grid(wide).set([&](int64_t n, int64_t c, int64_t h, int64_t v) {
      h -= p.pad_top, v -= p.pad_left;
      return h < 0 || h >= p.H || v < 0 || v >= p.W ? 0.0f : x(n, c, h, v);
    });
    EXPECT_EQ(conv(p, x, w), conv(wide, around, w));
  });
}

TEST(Relations, AStrideLeavesOutputsOut) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    p.stride_h *= 2, p.stride_w *= 3;
    ConvProblem dense = p;
    dense.stride_h = dense.stride_w = 1;
    const Grid x = conv.x(p), w = conv.w(p), all = conv(dense, x, w);
    EXPECT_EQ(conv(p, x, w), y_grid(p).set([&](int64_t n, int64_t k, int64_t r, int64_t c) {
      return all(n, k, r * p.stride_h, c * p.stride_w);
    }));
  });
}

TEST(Relations, ADilationIsAKernelWithZeros) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    p.dilation_h *= 2, p.pad_top += p.R, p.pad_left += p.S, p.dilation_w += 1;
    ConvProblem dense = p;
    dense.R = p.dilation_h * (p.R - 1) + 1, dense.S = p.dilation_w * (p.S - 1) + 1;
    dense.dilation_h = dense.dilation_w = 1;
    const Grid x = conv.x(p), w = conv.w(p);
    const Grid spread = w_grid(dense).set([&](int64_t k, int64_t c, int64_t r, int64_t s) {
      const bool tap = r % p.dilation_h == 0 && s % p.dilation_w == 0;
      return tap ? w(k, c, r / p.dilation_h, s / p.dilation_w) : 0.0f;
    });
    EXPECT_EQ(conv(p, x, w), conv(dense, x, spread));
  });
}

/// Rows and columns change places.
TEST(Relations, TheTransposeOfATranspose) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    ConvProblem t = p;
    std::swap(t.H, t.W), std::swap(t.R, t.S), std::swap(t.stride_h, t.stride_w);
    std::swap(t.dilation_h, t.dilation_w), std::swap(t.pad_top, t.pad_left);
    std::swap(t.pad_bottom, t.pad_right);
    const Grid x = conv.x(p), w = conv.w(p);
    const auto turned = [](const Grid& g) {
      return [&g](int64_t a, int64_t b, int64_t c, int64_t d) { return g(a, b, d, c); };
    };
    const Grid y = conv(t, x_grid(t).set(turned(x)), w_grid(t).set(turned(w)));
    EXPECT_EQ(conv(p, x, w), y_grid(p).set(turned(y)));
  });
}

TEST(Relations, LayoutsAgree) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    ConvProblem other = p;
    other.layout = p.layout == Layout::nchw ? Layout::nhwc : Layout::nchw;
    const Grid x = conv.x(p), w = conv.w(p);
    const Grid y = conv(other, x_grid(other).set([&](auto... i) { return x(i...); }), w);
    EXPECT_EQ(conv(p, x, w), y_grid(p).set([&](auto... i) { return y(i...); }));
  });
}

// ---- channels and samples

/// The channels of each group in reverse order.
TEST(Relations, ChannelsMayChangePlaces) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const auto flip = [](int64_t c, int64_t group) {
      return c / group * group + (group - 1 - c % group);
    };
    const int64_t cg = p.C_per_group(), kg = p.K_per_group();
    const Grid x = conv.x(p), w = conv.w(p), y = conv(p, x, w);
    const Grid xf = x_grid(p).set(
        [&](int64_t n, int64_t c, int64_t h, int64_t v) { return x(n, flip(c, cg), h, v); });
    const Grid wf = w_grid(p).set([&](int64_t k, int64_t c, int64_t r, int64_t s) {
      return w(flip(k, kg), cg - 1 - c, r, s);
    });
    EXPECT_EQ(conv(p, xf, wf), y_grid(p).set([&](int64_t n, int64_t k, int64_t r, int64_t c) {
      return y(n, flip(k, kg), r, c);
    }));
  });
}

TEST(Relations, SamplesAreApart) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    p.N = 3;
    ConvProblem one = p;
    one.N = 1;
    const Grid x = conv.x(p), w = conv.w(p), y = conv(p, x, w);
    for (int64_t n = 0; n < p.N; ++n) {
      const Grid sample =
          x_grid(one).set([&](int64_t, int64_t c, int64_t h, int64_t v) { return x(n, c, h, v); });
      ASSERT_EQ(conv(one, sample, w), y_grid(one).set([&](int64_t, int64_t k, int64_t r,
                                                          int64_t c) {
        return y(n, k, r, c);
      })) << "sample "
          << n;
    }
  });
}

TEST(Relations, GroupsAreConvolutionsBesideEachOther) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    if (p.groups == 1) p.groups = 2, p.C *= 2, p.K *= 2;
    const int64_t cg = p.C_per_group(), kg = p.K_per_group();
    ConvProblem one = p;
    one.groups = 1, one.C = cg, one.K = kg;
    const Grid x = conv.x(p), w = conv.w(p), y = conv(p, x, w);
    for (int64_t g = 0; g < p.groups; ++g) {
      const Grid xs = x_grid(one).set(
          [&](int64_t n, int64_t c, int64_t h, int64_t v) { return x(n, g * cg + c, h, v); });
      const Grid ws = w_grid(one).set(
          [&](int64_t k, int64_t c, int64_t r, int64_t s) { return w(g * kg + k, c, r, s); });
      ASSERT_EQ(conv(one, xs, ws), y_grid(one).set([&](int64_t n, int64_t k, int64_t r, int64_t c) {
        return y(n, g * kg + k, r, c);
      })) << "group "
          << g;
    }
  });
}

TEST(Relations, OneTapIsAMatrixProduct) {
  for_every_kernel([](const Kernel& conv, ConvProblem p) {
    p.R = p.S = p.stride_h = p.stride_w = 1;
    p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = 0;
    const int64_t cg = p.C_per_group(), kg = p.K_per_group();
    const Grid x = conv.x(p), w = conv.w(p);
    EXPECT_EQ(conv(p, x, w), y_grid(p).set([&](int64_t n, int64_t k, int64_t r, int64_t c) {
      float sum = 0;
      for (int64_t j = 0; j < cg; ++j) sum += w(k, j, 0, 0) * x(n, k / kg * cg + j, r, c);
      return sum;
    }));
  });
}

// ---- numbers

/// Subnormal inputs are not taken for zero.
TEST(Relations, SubnormalsScaleLikeOtherNumbers) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid x = conv.x(p), w = conv.w(p), y = conv(p, x, w);
    constexpr float kTiny = 0x1p-144f;  // 2^5 above the smallest, for kernels that halve
    const Grid tiny = x_grid(p).set([&](auto... i) { return kTiny * x(i...); });
    EXPECT_EQ(conv(p, tiny, w), y_grid(p).set([&](auto... i) { return kTiny * y(i...); }));
  });
}

TEST(Relations, TheSignOfZeroChangesNothing) {
  for_every_kernel([](const Kernel& conv, const ConvProblem& p) {
    const Grid x = conv.x(p), w = conv.w(p);
    const Grid negative = x_grid(p).set([&](auto... i) { return x(i...) == 0 ? -0.0f : x(i...); });
    EXPECT_EQ(conv(p, negative, w), conv(p, x, w));
    const Grid zeros = x_grid(p).set([](auto...) { return -0.0f; });
    EXPECT_EQ(conv(p, zeros, w), y_grid(p));
  });
}

/// Bytes of y, by `row` on `device`.
std::vector<std::byte> run(Device& device, const KernelRow& row, const ConvProblem& p,
                           const bench::Data& data) {
  std::vector<std::byte> y(size_t(p.y_bytes()));
  conv2d(device, p, data.x.data(), data.w.data(), data.bias.data(), y.data(),
         {row.implementation, row.name});
  return y;
}

/// `elements` of halves, widened.
std::vector<std::byte> in_f32(DType dtype, const std::vector<std::byte>& elements) {
  std::vector<std::byte> floats(2 * elements.size());
  for (int64_t i = 0; i < int64_t(elements.size() / 2); ++i)
    from_double(DType::f32, to_double(dtype, elements.data(), i), floats.data(), i);
  return floats;
}

/// Bases, and what may be summed in parts.
std::vector<ConvProblem> rounding_problems(const KernelRow& row, Layout layout) {
  std::vector<ConvProblem> problems = bases(row, layout);
  for (const char* text : kManyChannels) {
    ConvProblem p = parse_problem(text);
    p.layout = layout;
    if (row.refusal(p).empty()) problems.push_back(p);
  }
  return problems;
}

/// Halves change how numbers are stored and nothing of how they are summed.
TEST(Relations, HalvesAreFloatsRoundedAtTheEnd) {
  for (const std::string& isa : cpu_isas()) {
    Device& device = cpu_device(isa, 2);
    for (const KernelRow* row : our_rows(device))
      for (const Layout layout : row->layouts)
        for (ConvProblem p : rounding_problems(*row, layout))
          for (const DType dtype : {DType::f16, DType::bf16}) {
            p.bias = true, p.dtype = dtype;
            SCOPED_TRACE(bench::reproducer(p, device, *row, cpu_flags(isa, 2)));
            const bench::Data data = bench::make_data(p, bench::DataMode::random, 4);
            const auto y = run(device, *row, p, data);
            p.dtype = DType::f32;
            const auto floats =
                run(device, *row, p,
                    {in_f32(dtype, data.x), in_f32(dtype, data.w), in_f32(dtype, data.bias)});
            std::vector<std::byte> rounded(y.size());
            for (int64_t i = 0; i < p.y_elements(); ++i)
              from_double(dtype, to_double(DType::f32, floats.data(), i), rounded.data(), i);
            ASSERT_EQ(y, rounded);
          }
  }
}

// ---- repeatability

/// The same bits again and for any number of threads, on data that rounds.
TEST(Repeatability, SameBitsForAnyNumberOfThreads) {
  for (const std::string& isa : cpu_isas())
    for (const KernelRow* row : our_rows(cpu_device(isa, 1))) {
      if (!row->deterministic) continue;
      for (const Layout layout : row->layouts)
        for (ConvProblem p : rounding_problems(*row, layout))
          for (const DType dtype : row->dtypes) {
            p.dtype = dtype;
            SCOPED_TRACE(to_text(p) + " " + row->name + " " + isa);
            const bench::Data data = bench::make_data(p, bench::DataMode::random, 3);
            const auto first = run(cpu_device(isa, 1), *row, p, data);
            for (const int threads : {1, 2, 3, 4, 4})
              ASSERT_EQ(run(cpu_device(isa, threads), *row, p, data), first)
                  << threads << " threads";
          }
    }
}

}  // namespace
}  // namespace metalconv::test
