// SPDX-License-Identifier: Apache-2.0
// A convolution of planes by the library's own plan, whose result is checked before it is shown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metalconv/plan.h"

namespace metalconv::image {

/// C planes of H x W values, 0 black to 1 white.
struct Planes {
  std::int64_t C = 0, H = 0, W = 0;
  std::vector<float> values;

  Planes() = default;
  Planes(std::int64_t c, std::int64_t h, std::int64_t w)
      : C(c), H(h), W(w), values(std::size_t(c * h * w)) {}
  float& at(std::int64_t c, std::int64_t y, std::int64_t x) {
    return values[std::size_t((c * H + y) * W + x)];
  }
  float at(std::int64_t c, std::int64_t y, std::int64_t x) const {
    return values[std::size_t((c * H + y) * W + x)];
  }
};

inline constexpr std::int64_t kMaxKernelSide = 255;
inline constexpr float kMaxWeight = 1e6F;

/// K, C, R, S.
struct Weights {
  std::int64_t K = 1, C = 1, R = 1, S = 1;
  std::vector<float> values;

  /// Throws Error{invalid_argument} for a kernel side above kMaxKernelSide, and for a weight that
  /// is not finite or above kMaxWeight in size.
  void check() const;
};

struct Convolved {
  Planes y;
  std::string account;  ///< what computed it and how it was checked, two lines
  std::string failure;  ///< empty: every output that was compared is right
};

/// The cross-correlation of `x` with `w`, in f32, of x.C / w.C groups. The output has the size of
/// `x`: pixels on the edge are repeated outward as far as the kernel reaches, so that nothing
/// darkens there. In each output plane the corners and random points, 4096 or more in all, or
/// every output where there are fewer, are compared with the float64 oracle, within the kernel's
/// own error bound and one rounding a tap. Throws Error{too_large} when the memory does not
/// suffice.
Convolved convolve(Device& device, const Planes& x, const Weights& w, const PlanOptions& options);

}  // namespace metalconv::image
