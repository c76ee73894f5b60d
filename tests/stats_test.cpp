// SPDX-License-Identifier: Apache-2.0
#include "bench/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using Samples = std::vector<double>;

TEST(Stats, MedianTakesTheMiddleOrTheMeanOfTwo) {
  EXPECT_EQ(median(Samples{7}), 7);
  EXPECT_EQ(median(Samples{9, 1, 5}), 5);
  EXPECT_EQ(median(Samples{4, 1, 3, 2}), 2.5);
}

TEST(Stats, MadIgnoresAnOutlier) {
  EXPECT_EQ(mad(Samples{1, 1, 2, 2, 4, 6, 9}), 1);
  EXPECT_EQ(mad(Samples{1, 2, 3, 4, 1e9}), 1);
  EXPECT_EQ(mad(Samples{5}), 0);
}

TEST(Stats, UpToFiveSamplesTheIntervalIsTheirRange) {
  const Samples all{12, 10, 14, 11, 13};
  for (std::size_t n = 1; n <= all.size(); ++n) {
    const std::span<const double> some(all.data(), n);
    const Interval i = median_interval(some);
    EXPECT_EQ(i.low, *std::min_element(some.begin(), some.end())) << n;
    EXPECT_EQ(i.high, *std::max_element(some.begin(), some.end())) << n;
    EXPECT_EQ(i.median, median(some)) << n;
  }
}

TEST(Stats, IntervalOfOddCountMatchesTheExactBootstrap) {
  // The median of 21 draws from 1..21 is <= k when at least 11 draws are: a binomial tail. Its
  // 2.5 % and 97.5 % points are 7 and 15 (P(<= 6) = 0.014, P(<= 7) = 0.044).
  Samples ranks;
  for (int i = 1; i <= 21; ++i) ranks.push_back(i);
  const Interval i = median_interval(ranks);
  EXPECT_EQ(i.median, 11);
  EXPECT_EQ(i.low, 7);
  EXPECT_EQ(i.high, 15);
}

TEST(Stats, OrderDoesNotMatterAndScaleCarriesOver) {
  Samples samples{5, 3, 8, 1, 9, 2, 7, 4, 6, 10};
  const Interval before = median_interval(samples);
  std::reverse(samples.begin(), samples.end());
  const Interval after = median_interval(samples);
  EXPECT_EQ(before.low, after.low);
  EXPECT_EQ(before.high, after.high);
  for (double& s : samples) s *= 4;
  EXPECT_EQ(median_interval(samples).low, 4 * before.low);
  EXPECT_EQ(median_interval(samples).high, 4 * before.high);
}

TEST(Stats, IntervalHoldsTheTrueMedianAboutAsOftenAsItSays) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> noise(100, 5);
  int held = 0;
  constexpr int kRuns = 400;
  for (int run = 0; run < kRuns; ++run) {
    Samples samples(15);
    for (double& s : samples) s = noise(random);
    const Interval i = median_interval(samples);
    held += i.low <= 100 && 100 <= i.high;
  }
  EXPECT_GT(held, 0.90 * kRuns);
  EXPECT_LT(held, 0.995 * kRuns);
}

TEST(Stats, RatioOfASampleWithItselfHoldsOne) {
  const Samples samples{10, 11, 12, 10.5, 11.5, 9.9, 12.1};
  const Interval i = ratio_interval(samples, samples);
  EXPECT_EQ(i.median, 1);
  EXPECT_LT(i.low, 1);
  EXPECT_GT(i.high, 1);
}

TEST(Stats, RatioOfSingleSamplesIsTheirQuotient) {
  const Interval i = ratio_interval(Samples{6}, Samples{3});
  EXPECT_EQ(i.median, 2);
  EXPECT_EQ(i.low, 2);
  EXPECT_EQ(i.high, 2);
}

TEST(Stats, RatioSeesADifferenceThatIsThere) {
  Samples slow, fast;
  for (int i = 0; i < 21; ++i) {
    const double wobble = 1 + 0.02 * std::sin(i);
    slow.push_back(20 * wobble);
    fast.push_back(10 * wobble);
  }
  const Interval i = ratio_interval(slow, fast);
  EXPECT_EQ(i.median, 2);
  EXPECT_GT(i.low, 1.9);
  EXPECT_LT(i.high, 2.1);
}

TEST(Stats, HalfWidthIsRelative) { EXPECT_DOUBLE_EQ(relative_half_width({100, 98, 104}), 0.03); }

TEST(Stats, RefusesWhatHasNoMedian) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(median(Samples{}), Error);
  EXPECT_THROW(median_interval(Samples{1, nan}), Error);
  EXPECT_THROW(median_interval(Samples{1, HUGE_VAL}), Error);
  EXPECT_THROW(ratio_interval(Samples{1}, Samples{0}), Error);
  EXPECT_THROW(ratio_interval(Samples{1}, Samples{}), Error);
}

}  // namespace
}  // namespace metalconv::bench
