// SPDX-License-Identifier: Apache-2.0
#include "image/convolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/reference.h"
#include "core/registry.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

using std::int64_t;

ConvProblem problem_of(const Planes& x, const Weights& w) {
  ConvProblem p;
  p.C = x.C, p.H = x.H + w.R - 1, p.W = x.W + w.S - 1;
  p.K = w.K, p.R = w.R, p.S = w.S;
  p.groups = x.C / w.C;
  p.validate();
  return p;
}

/// x is there three times, extended and on the device too, and y twice; host memory is all that
/// some devices have.
void require_memory(const Device& device, const ConvProblem& p) {
  const double needed = 3 * double(p.x_bytes()) + 2 * double(p.y_bytes());
  const auto free = double(device.info().memory_bytes);
  if (needed > free)
    throw Error(ErrorCode::too_large,
                fmt::format("{} needs {:.1f} MiB of memory, but {} has {:.1f} MiB free", to_text(p),
                            needed / 0x1p20, device.info().name, free / 0x1p20));
}

/// `x` in the middle of its own edges.
Planes extended(const Planes& x, const ConvProblem& p) {
  Planes larger(p.C, p.H, p.W);
  const int64_t above = (p.R - 1) / 2, before = (p.S - 1) / 2;
  for (int64_t c = 0; c < p.C; ++c)
    for (int64_t i = 0; i < p.H; ++i)
      for (int64_t j = 0; j < p.W; ++j)
        larger.at(c, i, j) = x.at(c, std::clamp<int64_t>(i - above, 0, x.H - 1),
                                  std::clamp<int64_t>(j - before, 0, x.W - 1));
  return larger;
}

/// Compares outputs with the oracle until one is wrong.
class Checker {
 public:
  Checker(const Plan& plan, const Planes& x, const Weights& w, const Planes& y)
      : plan_(plan), reference_(plan.problem(), x.values.data(), w.values.data(), nullptr), y_(y) {}

  void compare(int64_t k, int64_t i, int64_t j) {
    if (!failure.empty()) return;
    const ConvProblem& p = plan_.problem();
    const Expected expected = reference_.at(0, k, i, j);
    // A row's bound is for data of mean zero. The sums of a picture grow from tap to tap, and so do
    // their roundings: at most one a tap.
    const int64_t taps = p.C_per_group() * p.R * p.S;
    const double got = y_.at(k, i, j);
    const double bound =
        error_bound(plan_.row(), p, expected) + double(taps) * 0x1p-24 * expected.magnitude;
    ++compared;
    if (!(std::fabs(got - expected.value) <= bound))
      failure =
          fmt::format("{} by kernel {}: y[0,{},{},{}] is {:.9g}, but must be {:.9g} +- {:.2g}",
                      to_text(p), plan_.kernel(), k, i, j, got, expected.value, bound);
  }

  int64_t compared = 0;
  std::string failure;

 private:
  const Plan& plan_;
  Reference reference_;
  const Planes& y_;
};

}  // namespace

void Weights::check() const {
  if (R > kMaxKernelSide || S > kMaxKernelSide)
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("the kernel is {}x{}, but its sides must be at most {}", R, S, kMaxKernelSide));
  for (const float weight : values)
    if (!(std::fabs(weight) <= kMaxWeight))
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a weight is {}, but must be within +-{}", weight, kMaxWeight));
}

Convolved convolve(Device& device, const Planes& x, const Weights& w, const PlanOptions& options) {
  constexpr int64_t kPoints = 4096;
  const ConvProblem p = problem_of(x, w);
  require_memory(device, p);
  const Planes larger = extended(x, p);
  const Plan plan = make_plan(device, p, options);
  Convolved result;
  result.y = Planes(p.K, p.P(), p.Q());
  std::fill(result.y.values.begin(), result.y.values.end(), NAN);
  PlanOptions same = options;
  same.kernel = plan.kernel();  // the one that is told of and checked
  conv2d(device, p, larger.values.data(), w.values.data(), nullptr, result.y.values.data(), same);

  Checker checker(plan, larger, w, result.y);
  const bool whole = p.y_elements() <= 2 * kPoints;
  std::mt19937_64 random(1);
  const auto below = [&](int64_t end) { return int64_t(random() % std::uint64_t(end)); };
  for (int64_t k = 0; whole && k < p.K; ++k)
    for (int64_t i = 0; i < p.P(); ++i)
      for (int64_t j = 0; j < p.Q(); ++j) checker.compare(k, i, j);
  for (int64_t k = 0; !whole && k < p.K; ++k) {
    for (const int64_t i : {int64_t(0), p.P() - 1})
      for (const int64_t j : {int64_t(0), p.Q() - 1}) checker.compare(k, i, j);
    for (int64_t n = 0; n < kPoints / p.K + 1; ++n) checker.compare(k, below(p.P()), below(p.Q()));
  }
  result.failure = checker.failure;
  result.account =
      fmt::format("computed {} by kernel {} on {}\nright: {} of {} outputs agree with float64",
                  to_text(p), plan.kernel(), device.info().name, checker.compared, p.y_elements());
  return result;
}

}  // namespace metalconv::image
