// SPDX-License-Identifier: Apache-2.0
// The feature maps of a convolution as one picture.
#pragma once

#include "image/filters.h"

namespace metalconv::image {

inline constexpr std::int64_t kMaxMaps = 1024;

/// The K outputs of `weights` (K, 1 or 3, R, S) on a picture whose longer side is shrunk to `tile`
/// pixels, side by side in rows of ceil(sqrt(K)), with kGap pixels around each. A map is divided by
/// its own largest size (the 99.5th percentile): 0 is black, what is positive orange to white,
/// what is negative blue to white. Throws Error{invalid_argument} for more maps than kMaxMaps or
/// another C.
Filtered feature_sheet(Device& device, const Picture& picture, const Weights& weights,
                       std::int64_t tile, const PlanOptions& options);
inline constexpr std::int64_t kGap = 2;

}  // namespace metalconv::image
