// SPDX-License-Identifier: Apache-2.0
#include "core/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "metalconv/error.h"

namespace metalconv {
namespace {

template <class T>
std::string not_listed(const char* what, T value, const std::vector<T>& list) {
  if (std::find(list.begin(), list.end(), value) != list.end()) return {};
  std::string known;
  for (T item : list) known += (known.empty() ? "" : ", ") + std::string(to_string(item));
  return fmt::format("{} is {}, the kernel does {}", what, to_string(value), known);
}

/// Kernels compute with 64-bit sizes and do not check each product: none is taken that no machine
/// could hold. Padding counts, for kernels copy padded rows.
std::string beyond_any_memory(const ConvProblem& p) {
  constexpr double kMost = 0x1p47;  // what a process can address
  const auto n = double(std::max<std::int64_t>(p.N, 1)), size = double(size_of(p.dtype));
  const double x = n * double(p.C) * double(p.H + p.pad_top + p.pad_bottom) *
                   double(p.W + p.pad_left + p.pad_right) * size;
  const double y = n * double(p.K) * double(p.P()) * double(p.Q()) * size;
  const auto w = double(p.w_bytes());
  if (x <= kMost && y <= kMost && w <= kMost) return {};
  return fmt::format(
      "the padded input has {:.3g} bytes, the weights {:.3g}, the output {:.3g}, but none may have "
      "more than 2^47",
      x, w, y);
}

}  // namespace

std::string_view to_string(Exactness e) {
  switch (e) {
    case Exactness::integers:
      return "integers";
    case Exactness::scaled:
      return "scaled";
    case Exactness::none:
      break;
  }
  return "none";
}

std::string KernelRow::refusal(const ConvProblem& problem) const {
  std::string reason = not_listed("dtype", problem.dtype, dtypes);
  if (reason.empty()) reason = not_listed("layout", problem.layout, layouts);
  if (reason.empty()) reason = not_listed("activation", problem.activation, activations);
  if (reason.empty()) reason = beyond_any_memory(problem);
  if (reason.empty() && supports) reason = supports(problem);
  return reason;
}

void Registry::add(KernelRow row) {
  if (find(row.implementation, row.name))
    throw Error(ErrorCode::invalid_argument, fmt::format("the kernel {} is registered twice as {}",
                                                         row.name, to_string(row.implementation)));
  rows_.push_back(std::move(row));
}

const KernelRow* Registry::find(Implementation implementation, std::string_view name) const {
  for (const KernelRow& row : rows_)
    if (row.implementation == implementation && row.name == name) return &row;
  return nullptr;
}

}  // namespace metalconv
