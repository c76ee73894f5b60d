// SPDX-License-Identifier: Apache-2.0
// Medians and how far to trust them.
#pragma once

#include <span>

#include "bench/result.h"

namespace metalconv::bench {

/// Middle value; the mean of the two middle ones for an even count.
double median(std::span<const double> samples);

/// Median absolute deviation from the median, not scaled to a standard deviation.
double mad(std::span<const double> samples);

/// The median with a 95 % interval by percentile bootstrap: 2000 resamples from a fixed seed, so
/// that the same samples give the same interval on every machine and in any order. Up to 5
/// samples the interval is [min, max], which holds the true median with probability 1 - 2^(1-n);
/// one sample gives an interval of no width, which says nothing of the noise.
/// Throws Error{invalid_argument} for no samples or one that is not finite, as all here do.
Interval median_interval(std::span<const double> samples);

/// median(numerator) / median(denominator) with the interval that resampling both sides gives.
/// Samples of the denominator must be above 0.
Interval ratio_interval(std::span<const double> numerator, std::span<const double> denominator);

/// Half the width of the interval as a part of the median: the "+-" of tables.
double relative_half_width(const Interval&);

}  // namespace metalconv::bench
