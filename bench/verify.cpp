// SPDX-License-Identifier: Apache-2.0
#include "bench/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/half.h"
#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using Bytes = std::vector<std::byte>;
using std::int64_t;

const char* describe(DataMode mode) {
  switch (mode) {
    case DataMode::exact:
      return "exact integers";
    case DataMode::scaled:
      return "exact integers with weights in multiples of 576";
    case DataMode::random:
      return "random data";
    case DataMode::special:
      return "NaN and infinities in the input";
  }
  return "?";
}

/// Equal as values: NaN to NaN, +0 to -0.
bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// Compares one output with what it should be, and keeps the worst.
class Comparison {
 public:
  Comparison(const KernelRow& row, const ConvProblem& problem, DataMode mode)
      : row_(row), problem_(problem), mode_(mode) {}

  void compare(const Point& point, double got) {
    const Expected& e = point.expected;
    if (mode_ == DataMode::exact || mode_ == DataMode::scaled) {
      // The exact sum, rounded once to the output's type.
      std::uint32_t bits = 0;
      from_double(problem_.dtype, e.value, &bits, 0);
      const double wanted = to_double(problem_.dtype, &bits, 0);
      return note(point, got, wanted, 0, same(got, wanted) ? 0 : HUGE_VAL);
    }
    if (!std::isfinite(e.value))
      return note(point, got, e.value, 0, same(got, e.value) ? 0 : HUGE_VAL);
    const double bound = error_bound(row_, problem_, e), error = std::fabs(got - e.value);
    note(point, got, e.value, bound, error / bound);
    if (mode_ == DataMode::random && e.magnitude > 0)
      units_ = std::max(units_, error / (e.magnitude * 0x1p-24));
  }

  double ratio() const { return ratio_; }
  double units() const { return units_; }

  /// Empty when every output was within its bound. Written so that a NaN ratio fails.
  std::string failure() const {
    if (ratio_ <= 1) return {};
    const auto [n, k, p, q] = worst_.nkpq;
    std::string text = fmt::format("on {}: y[n={},k={},p={},q={}] is {:.9g}, expected {:.9g}",
                                   describe(mode_), n, k, p, q, got_, wanted_);
    if (bound_ > 0) text += fmt::format(" within {:.3g}", bound_);
    return text + fmt::format("; {} of {} outputs are wrong", wrong_, compared_);
  }

 private:
  void note(const Point& point, double got, double wanted, double bound, double ratio) {
    ++compared_;
    if (!(ratio <= 1)) ++wrong_;
    if (std::isnan(ratio)) ratio = HUGE_VAL;
    if (ratio > ratio_ || compared_ == 1)
      ratio_ = ratio, worst_ = point, got_ = got, wanted_ = wanted, bound_ = bound;
  }

  const KernelRow& row_;
  const ConvProblem& problem_;
  DataMode mode_;
  Point worst_{};
  double ratio_ = 0, units_ = 0, got_ = 0, wanted_ = 0, bound_ = 0;
  int64_t wrong_ = 0, compared_ = 0;
};

/// First of `count` elements that still holds the poison, or -1. 0xFF.. is a NaN that no arithmetic
/// produces.
template <class Bits>
int64_t find_poison(const std::byte* y, std::size_t count) {
  const auto* bits = reinterpret_cast<const Bits*>(y);
  // The count is of several elements at a time, the search is not.
  if (std::count(bits, bits + count, Bits(-1)) == 0) return -1;
  return std::find(bits, bits + count, Bits(-1)) - bits;
}

int64_t find_poison(const std::byte* y, std::size_t bytes, std::size_t size) {
  return size == 2 ? find_poison<std::uint16_t>(y, bytes / 2)
                   : find_poison<std::uint32_t>(y, bytes / 4);
}

bool holds(const Guarded& buffer, const Bytes& wanted) {
  bool same = true;
  buffer.read([&](std::size_t at, const std::byte* data, std::size_t bytes) {
    return same = std::memcmp(data, wanted.data() + at, bytes) == 0;
  });
  return same;
}

/// Empty when canaries and inputs are as they were.
std::string check_memory(Subject& s, const Data& data) {
  Operands& o = s.operands();
  const std::pair<const char*, const Guarded*> all[] = {{"x", &o.x},
                                                        {"w", &o.w},
                                                        {"bias", &o.bias},
                                                        {"y", &o.y},
                                                        {"packed", &s.packed()},
                                                        {"workspace", &s.workspace()}};
  for (const auto& [name, buffer] : all)
    if (!buffer->intact()) return fmt::format("memory beside {} was overwritten", name);
  if (!holds(o.x, data.x)) return "the input x was overwritten";
  if (!holds(o.w, data.w)) return "the weights w were overwritten";
  if (!holds(o.bias, data.bias)) return "the bias was overwritten";
  return {};
}

void load(Subject& s, const Data& data) {
  Operands& o = s.operands();
  o.x.upload(data.x);
  o.w.upload(data.w);
  o.bias.upload(data.bias);
  for (Guarded* g : {&o.y, &s.packed(), &s.workspace()}) g->poison();
}

std::string run_mode(Subject& s, const Check& check, const Fault* fault, Verification* seen) {
  const ConvProblem& problem = s.plan().problem();
  load(s, check.data);
  s.pack();
  if (fault) {
    fault->execute(s);
  } else {
    s.execute();
    s.queue().wait();
  }
  std::string failure = check_memory(s, check.data);
  if (!failure.empty()) return failure;
  // A piece of y at a time: the whole may be more than the host has room for.
  const std::size_t size = size_of(problem.dtype);
  Comparison comparison(s.plan().row(), problem, check.mode);
  auto point = check.points.begin();
  int64_t unwritten = -1;
  s.operands().y.read([&](std::size_t at, const std::byte* y, std::size_t bytes) {
    const auto first = int64_t(at / size), last = int64_t((at + bytes) / size);
    for (; point != check.points.end() && point->offset < last; ++point)
      comparison.compare(*point, to_double(problem.dtype, y, point->offset - first));
    if (const int64_t i = unwritten < 0 ? find_poison(y, bytes, size) : -1; i >= 0)
      unwritten = first + i;
    return true;
  });
  seen->checked += int64_t(check.points.size());
  seen->coverage = check.coverage;
  if (check.mode == DataMode::random) {
    seen->worst_ratio = comparison.ratio();
    seen->error_units = comparison.units();
  }
  failure = comparison.failure();
  if (!failure.empty() || check.mode == DataMode::special) return failure;
  if (unwritten >= 0)
    return fmt::format("on {}: element {} of y was never written", describe(check.mode), unwritten);
  return {};
}

}  // namespace

const Check& Checks::get(DataMode mode) {
  auto& check = checks_[mode];
  if (!check) check = std::make_unique<const Check>(make_check(problem_, mode, 1, effort_));
  return *check;
}

Verified verify(Subject& s, Checks& checks, const Fault* fault) {
  const KernelRow& row = s.plan().row();
  std::vector<DataMode> modes;
  // silu is no integer arithmetic, so nothing is exact behind it.
  const bool exact = s.plan().problem().activation != Activation::silu;
  if (exact && row.exactness == Exactness::integers) modes.push_back(DataMode::exact);
  if (exact && row.exactness == Exactness::scaled) modes.push_back(DataMode::scaled);
  const bool whole = checks.get(DataMode::random).coverage == "every output";
  if (row.direct_sum && whole) modes.push_back(DataMode::special);
  modes.push_back(DataMode::random);

  Verified result;
  for (DataMode mode : modes) {
    try {
      result.failure = run_mode(s, checks.get(mode), fault, &result.seen);
    } catch (const Error& e) {
      result.failure = fmt::format("on {}: {}", describe(mode), e.what());
    }
    if (!result.failure.empty()) return result;
    if (mode == DataMode::exact || mode == DataMode::scaled) result.seen.exact = true;
  }
  return result;
}

std::string reproducer(const ConvProblem& problem, const Device& device, const KernelRow& row,
                       const std::string& flags) {
  return fmt::format("metalconv verify '{}' --device {} --implementation {} --only {}{}",
                     to_text(problem), device.info().name, to_string(row.implementation), row.name,
                     flags);
}

}  // namespace metalconv::bench
