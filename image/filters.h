// SPDX-License-Identifier: Apache-2.0
// Filters, and a picture filtered.
#pragma once

#include <string>

#include "image/convolve.h"
#include "image/picture.h"

namespace metalconv::image {

struct Filter {
  Weights weights;
  /// The weights are one kernel, 1 x 1 x R x S, for each channel by itself.
  bool per_channel = true;
  /// Show the root of the sum of the squares of all K outputs, in grey.
  bool magnitude = false;
};

/// Brightness changes in any direction, in grey: a step from black to white gives white.
Filter sobel();
/// A blur; the kernel reaches out to 3 sigma. Throws Error{invalid_argument} unless
/// 0.1 <= sigma <= 40.
Filter gaussian(double sigma);
Filter sharpen();
Filter emboss();

/// 64x3x7x7, eight filters of a kind in a row of the sheet: light and dark bars and edges at eight
/// angles in two widths, the same edges between red and green and between blue and yellow, spots
/// with and without colour, and corners, crosses and grids. Each has weights whose sizes add up
/// to 1; all but plain averages sum to 0 over a grey area.
Weights feature_bank();

/// Grey, or the three colours, of a picture that is laid on a grey `background`; the other count of
/// colours is derived: luma (Rec. 709) or three equal planes.
Planes colour_planes(const Picture& picture, int colours, float background);

struct Filtered {
  Picture picture;
  std::string account, failure;  ///< as of Convolved; no picture when there is a failure
};

/// Values are filtered as they are stored (sRGB), the result is cut to black and white, or, with
/// `stretch`, its own range is made theirs. Of a picture with alpha, a filter without negative
/// weights filters colours multiplied by alpha, and alpha; any other one sees it on white, and one
/// that works per channel keeps its alpha.
Filtered filter_picture(Device& device, const Picture& picture, const Filter& filter, bool stretch,
                        const PlanOptions& options);

}  // namespace metalconv::image
