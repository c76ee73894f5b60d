// SPDX-License-Identifier: Apache-2.0
#include "bench/groups.h"

#include <algorithm>

namespace metalconv::bench {
namespace {

template <class Items, class Test>
auto find_or_add(Items& items, const Test& test) -> decltype(&items.front()) {
  const auto found = std::find_if(items.begin(), items.end(), test);
  return found != items.end() ? &*found : &items.emplace_back();
}

const Row* faster(const Row* a, const Row* b) {
  return !a || b->time_us->median < a->time_us->median ? b : a;
}

bool may_win(const Row& row) { return is_timed(row) && !row.above_roof; }

/// True when several kernels of one role ran on one problem, so that the role does not name a line.
bool has_several(const std::vector<Group>& groups, std::string_view device, Implementation role) {
  return std::any_of(groups.begin(), groups.end(), [&](const Group& g) {
    return 1 < std::count_if(g.rows.begin(), g.rows.end(), [&](const Row* row) {
             return row->device == device && row->implementation == role;
           });
  });
}

/// The problem with the fields of an axis (and what follows from them) made equal.
ConvProblem without(Axis::Kind kind, ConvProblem p) {
  switch (kind) {
    case Axis::Kind::resolution:
      p.H = p.W = 1;
      break;
    case Axis::Kind::kernel:
      p.R = p.S = 1;
      p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = 0;
      break;
    case Axis::Kind::channels:
      // The maps of usual sweeps shrink as channels grow.
      p.C = p.K = p.groups = p.H = p.W = 1;
      break;
    case Axis::Kind::batch:
      p.N = 1;
      break;
    case Axis::Kind::none:
      break;
  }
  return p;
}

double value_of(Axis::Kind kind, const ConvProblem& p) {
  switch (kind) {
    case Axis::Kind::resolution:
      return double(p.H) * double(p.W);
    case Axis::Kind::kernel:
      return double(p.R);
    case Axis::Kind::channels:
      return double(p.C);
    case Axis::Kind::batch:
      return double(p.N);
    case Axis::Kind::none:
      break;
  }
  return 0;
}

bool square_kernels(const std::vector<Group>& groups) {
  return std::all_of(groups.begin(), groups.end(),
                     [](const Group& g) { return g.problem.R == g.problem.S; });
}

}  // namespace

std::vector<Group> groups_of(const Result& result) {
  std::vector<Group> groups;
  for (const Row& row : result.rows) {
    Group* group = find_or_add(groups, [&](const Group& g) {
      return !g.rows.empty() && g.label == row.name && g.problem == row.problem;
    });
    group->label = row.name;
    group->problem = row.problem;
    group->rows.push_back(&row);
  }
  std::vector<std::string> names;
  for (const Group& group : groups) names.push_back(group.label);
  for (Group& group : groups)
    if (group.label.empty() || std::count(names.begin(), names.end(), group.label) > 1)
      group.label = to_text(group.problem);
  return groups;
}

std::vector<std::string> devices_of(const Result& result) {
  std::vector<std::string> devices;
  for (const Row& row : result.rows)
    if (std::find(devices.begin(), devices.end(), row.device) == devices.end())
      devices.push_back(row.device);
  return devices;
}

bool is_timed(const Row& row) { return row.verdict == Verdict::ok && row.time_us.has_value(); }

const Row* fastest(const Group& group, std::string_view device, Implementation role) {
  const Row* best = nullptr;
  for (const Row* row : group.rows)
    if (row->device == device && row->implementation == role && may_win(*row))
      best = faster(best, row);
  return best;
}

const Row* fastest(const Group& group, std::string_view device) {
  const Row* best = nullptr;
  for (const Row* row : group.rows)
    if (row->device == device && may_win(*row)) best = faster(best, row);
  return best;
}

std::vector<Line> lines_of(const std::vector<Group>& groups, std::string_view device) {
  std::vector<Line> lines;
  for (Implementation role :
       {Implementation::basic, Implementation::optimized, Implementation::vendor}) {
    const bool several = has_several(groups, device, role);
    const std::size_t first = lines.size();
    for (std::size_t i = 0; i < groups.size(); ++i)
      for (const Row* row : groups[i].rows) {
        if (row->device != device || row->implementation != role) continue;
        std::string label = line_label(*row);
        if (several && role != Implementation::vendor) label += " " + row->kernel;
        Line* line = nullptr;
        for (std::size_t l = first; l < lines.size(); ++l)
          if (lines[l].label == label) line = &lines[l];
        if (!line) {
          lines.push_back({label, role, int(lines.size() - first), {}});
          line = &lines.back();
          line->cells.resize(groups.size());
        }
        line->cells[i] = row;
      }
  }
  return lines;
}

std::string line_label(const Row& row) {
  const bool library = row.implementation == Implementation::vendor && !row.kernel.empty();
  return library ? row.kernel : std::string(to_string(row.implementation));
}

Axis axis_of(const std::vector<Group>& groups) {
  using Kind = Axis::Kind;
  if (groups.size() < 2) return {};
  const Axis axes[] = {{Kind::resolution, "resolution", "pixels", {}},
                       {Kind::kernel, "kernel size", "kernel rows", {}},
                       {Kind::batch, "batch size", "images", {}},
                       {Kind::channels, "channel count", "channels", {}}};
  for (Axis axis : axes) {
    if (axis.kind == Kind::kernel && !square_kernels(groups)) continue;
    for (const Group& group : groups) {
      const double value = value_of(axis.kind, group.problem);
      const bool only_this =
          without(axis.kind, group.problem) == without(axis.kind, groups.front().problem);
      if (!only_this || (!axis.values.empty() && value <= axis.values.back())) break;
      axis.values.push_back(value);
    }
    if (axis.values.size() == groups.size()) return axis;
  }
  return {};
}

}  // namespace metalconv::bench
