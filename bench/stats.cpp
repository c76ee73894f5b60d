// SPDX-License-Identifier: Apache-2.0
#include "bench/stats.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using std::size_t;

// The ends of the interval are the 50th resamples from either side: enough for two digits, and
// 50 samples take about a millisecond.
constexpr size_t kResamples = 2000;
constexpr double kTail = 0.025;
constexpr std::uint64_t kSeed = 0x6d6574616c636f6e;

/// SplitMix64 with a multiply-shift for indices: std distributions differ between libraries.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  /// Uniform in [0, n), n < 2^32.
  size_t below(size_t n) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return size_t((z >> 32) * n >> 32);
  }

 private:
  std::uint64_t state_;
};

std::vector<double> sorted(std::span<const double> samples) {
  if (samples.empty())
    throw Error(ErrorCode::invalid_argument, "samples is empty, a median needs at least 1");
  for (double sample : samples)
    if (!std::isfinite(sample))
      throw Error(ErrorCode::invalid_argument,
                  "samples holds " + std::to_string(sample) + ", every sample must be finite");
  std::vector<double> copy(samples.begin(), samples.end());
  std::sort(copy.begin(), copy.end());
  return copy;
}

double median_of_sorted(const std::vector<double>& values) {
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// The median of as many draws from `values`, which are sorted; `scratch` spares allocations.
double resampled_median(const std::vector<double>& values, Random& random,
                        std::vector<double>& scratch) {
  scratch.resize(values.size());
  for (double& draw : scratch) draw = values[random.below(values.size())];
  const auto middle = scratch.begin() + std::ptrdiff_t(scratch.size() / 2);
  std::nth_element(scratch.begin(), middle, scratch.end());
  if (scratch.size() % 2) return *middle;
  return (*std::max_element(scratch.begin(), middle) + *middle) / 2;
}

/// `estimate` with the 2.5 % and 97.5 % points of what `resample` gives.
template <class Resample>
Interval bootstrap(double estimate, const Resample& resample) {
  std::vector<double> estimates(kResamples);
  for (double& e : estimates) e = resample();
  std::sort(estimates.begin(), estimates.end());
  const size_t tail = size_t(kTail * kResamples);
  // Few samples can leave the estimate itself outside by rounding; it always belongs inside.
  return {estimate, std::min(estimate, estimates[tail]),
          std::max(estimate, estimates[kResamples - 1 - tail])};
}

}  // namespace

double median(std::span<const double> samples) { return median_of_sorted(sorted(samples)); }

double mad(std::span<const double> samples) {
  const double middle = median(samples);
  std::vector<double> deviations;
  for (double sample : samples) deviations.push_back(std::fabs(sample - middle));
  return median(deviations);
}

Interval median_interval(std::span<const double> samples) {
  const std::vector<double> values = sorted(samples);
  Random random(kSeed);
  std::vector<double> scratch;
  return bootstrap(median_of_sorted(values),
                   [&] { return resampled_median(values, random, scratch); });
}

Interval ratio_interval(std::span<const double> numerator, std::span<const double> denominator) {
  const std::vector<double> above = sorted(numerator), below = sorted(denominator);
  if (!(below.front() > 0))
    throw Error(ErrorCode::invalid_argument, "denominator holds " + std::to_string(below.front()) +
                                                 ", every sample of it must be above 0");
  Random random(kSeed);
  std::vector<double> scratch;
  return bootstrap(median_of_sorted(above) / median_of_sorted(below), [&] {
    const double top = resampled_median(above, random, scratch);
    return top / resampled_median(below, random, scratch);
  });
}

double relative_half_width(const Interval& interval) {
  return (interval.high - interval.low) / 2 / interval.median;
}

}  // namespace metalconv::bench
