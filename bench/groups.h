// SPDX-License-Identifier: Apache-2.0
// A result as reports look at it: problems, lines across problems, and what the run sweeps over.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/result.h"

namespace metalconv::bench {

/// A problem with its rows on all devices. Pointers are into the Result.
struct Group {
  std::string label;  ///< the problem's name; its text where two problems share a name
  ConvProblem problem;
  std::vector<const Row*> rows;
};
/// In the order of first appearance.
std::vector<Group> groups_of(const Result&);

/// Devices in the order of first appearance.
std::vector<std::string> devices_of(const Result&);

/// Verified, and has a time.
bool is_timed(const Row&);

/// The timed row of least median time, null when there is none. A time that a roof forbids is an
/// error in our counting and wins nothing.
const Row* fastest(const Group&, std::string_view device, Implementation);
/// The same over all implementations.
const Row* fastest(const Group&, std::string_view device);

/// An implementation followed across the groups on one device: a line of a chart.
struct Line {
  std::string label;  ///< "basic", "optimized", "onednn-3.2.0"
  Implementation implementation = Implementation::basic;
  int variant = 0;                ///< counts the lines of the same implementation
  std::vector<const Row*> cells;  ///< one a group; null where it has no row
};
std::vector<Line> lines_of(const std::vector<Group>&, std::string_view device);

/// The name by which a row goes in sentences: the role for ours, the library for the vendor.
std::string line_label(const Row&);

/// What changes from group to group.
struct Axis {
  enum class Kind { resolution, kernel, channels, batch, none };
  Kind kind = Kind::none;
  std::string noun = "problem";  ///< "resolution", "kernel size" ...
  std::string unit;              ///< of `values`, e.g. "pixels"
  std::vector<double> values;    ///< one a group, increasing; empty for Kind::none
  bool is_sweep() const { return kind != Kind::none; }
};
/// Found from the problems: one quantity grows from group to group and all else stays the same.
Axis axis_of(const std::vector<Group>&);

}  // namespace metalconv::bench
