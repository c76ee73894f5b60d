// SPDX-License-Identifier: Apache-2.0
#include "image/sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "metalconv/error.h"

namespace metalconv::image {
namespace {

using std::int64_t;

/// The size that all but the 200th part of the values stay below; 0 when all are 0.
float large_value(std::vector<float> values) {
  for (float& value : values) value = std::fabs(value);
  const auto at = values.begin() + int64_t(values.size() - 1) * 199 / 200;
  std::nth_element(values.begin(), at, values.end());
  return *at > 0 ? *at : *std::max_element(values.begin(), values.end());
}

/// -1 to 1 as a colour.
void paint(float value, std::uint8_t* rgb) {
  const float size = std::min(1.0F, std::fabs(value));
  const auto ramp = [&](float from, float to) {
    return std::uint8_t(std::lround(255 * std::clamp((size - from) / (to - from), 0.0F, 1.0F)));
  };
  // One channel after the other comes up.
  const std::uint8_t first = ramp(0, 0.5F), second = ramp(0.1F, 1), third = ramp(0.6F, 1.1F);
  rgb[0] = value > 0 ? first : third;
  rgb[1] = second;
  rgb[2] = value > 0 ? third : first;
}

void draw_map(const Planes& maps, int64_t k, int64_t left, int64_t top, Picture* sheet) {
  const auto begin = maps.values.begin() + k * maps.H * maps.W;
  const float large = large_value({begin, begin + maps.H * maps.W});
  for (int64_t y = 0; y < maps.H; ++y)
    for (int64_t x = 0; x < maps.W; ++x)
      paint(large > 0 ? maps.at(k, y, x) / large : 0, sheet->at(left + x, top + y));
}

}  // namespace

Filtered feature_sheet(Device& device, const Picture& picture, const Weights& weights, int64_t tile,
                       const PlanOptions& options) {
  if (weights.K > kMaxMaps || (weights.C != 1 && weights.C != 3))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the weights make {} maps of {} channels, but must make 1 to {} of 1 "
                            "(grey) or 3 (colour)",
                            weights.K, weights.C, kMaxMaps));
  const Picture small = shrink(picture, tile);
  const auto columns = int64_t(std::ceil(std::sqrt(double(weights.K))));
  const int64_t rows = (weights.K + columns - 1) / columns;
  const int64_t across = small.width + kGap, down = small.height + kGap;
  Picture sheet(columns * across + kGap, rows * down + kGap, 3);  // checks the size first
  std::fill(sheet.pixels.begin(), sheet.pixels.end(), std::uint8_t(64));

  Convolved convolved = convolve(device, colour_planes(small, int(weights.C), 1), weights, options);
  Filtered result{{}, std::move(convolved.account), std::move(convolved.failure)};
  if (!result.failure.empty()) return result;
  for (int64_t k = 0; k < weights.K; ++k)
    draw_map(convolved.y, k, kGap + k % columns * across, kGap + k / columns * down, &sheet);
  result.picture = std::move(sheet);
  return result;
}

}  // namespace metalconv::image
