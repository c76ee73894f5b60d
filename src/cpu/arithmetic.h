// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace metalconv::cpu {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
/// To a multiple of b.
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// The indices [begin, end) of [0, n) at which start + i * step is in [0, size).
struct Inside {
  std::int64_t begin, end;
  Inside(std::int64_t start, std::int64_t step, std::int64_t n, std::int64_t size) {
    // Without the divisions, which a strip would do for every row.
    const auto steps = [step](std::int64_t d) { return step == 1 ? d : ceil_div(d, step); };
    begin = start >= 0 ? 0 : std::min(steps(-start), n);
    end = start >= size ? begin : std::clamp(steps(size - start), begin, n);
  }
  std::int64_t size() const { return end - begin; }
  bool operator==(const Inside&) const = default;
};

constexpr std::int64_t kLine = 16;  ///< floats of a cache line

/// At least n floats and an odd number of cache lines: neighbours at this distance spread over the
/// sets of a cache, where those at a power of two would fall into the same few.
inline std::int64_t spread(std::int64_t n) { return (ceil_div(n, kLine) | 1) * kLine; }

/// std::copy_n, but short rows, which are not worth a call, are copied in place.
inline void copy_floats(const float* from, std::int64_t n, float* to) {
  constexpr std::int64_t kQuad = 4, kShort = 64;
  if (n > kShort) {
    std::copy_n(from, n, to);
  } else if (n >= kQuad) {
    // The last four overlap those before them.
    for (std::int64_t i = 0; i < n - kQuad; i += kQuad)
      std::memcpy(to + i, from + i, sizeof(float[kQuad]));
    std::memcpy(to + n - kQuad, from + n - kQuad, sizeof(float[kQuad]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

}  // namespace metalconv::cpu
