// SPDX-License-Identifier: Apache-2.0
// Inputs for one problem and what its outputs should be.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/reference.h"
#include "core/registry.h"
#include "metalconv/problem.h"

namespace metalconv::bench {

/// `exact`: small integers whose sums are exact. `scaled`: the same with weights that are multiples
/// of 576. `random`: zero-mean uniform in (-1, 1). `special`: random with NaN and infinities in x.
enum class DataMode { exact, scaled, random, special };

/// Host tensors in the problem's layout and dtype.
struct Data {
  std::vector<std::byte> x, w, bias;
};
Data make_data(const ConvProblem& problem, DataMode mode, std::uint64_t seed);

/// One output to compare: its coordinates, its place in memory, and what it should be.
struct Point {
  std::array<std::int64_t, 4> nkpq;
  std::int64_t offset;  ///< element of y, in the problem's layout
  Expected expected;
};

/// Data, the points to compare and how they were chosen. Independent of any kernel, so that all
/// implementations of a problem share it.
struct Check {
  DataMode mode;
  Data data;
  std::vector<Point> points;  ///< by their place in memory
  std::string coverage;
};

/// Every output where that costs under 2^28 multiply-adds; else every border output, one random
/// output in each tile of 8 channels x 8 rows x 16 columns, and 4096 random ones, with the borders
/// thinned by whole channels when they alone cost more than 2^30. Both costs times `effort`.
Check make_check(const ConvProblem& problem, DataMode mode, std::uint64_t seed = 1,
                 double effort = 1);

}  // namespace metalconv::bench
