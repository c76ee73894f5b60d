// SPDX-License-Identifier: Apache-2.0
#include "cpu/cut.h"

#include <algorithm>

#include "cpu/call.h"

namespace metalconv::cpu {
namespace {

using std::int64_t;

constexpr int64_t kRows = 8;  // 4 and 16 ran within 2 % of it on Zen 4
constexpr int64_t kTasksPerThread = 8;
constexpr int64_t kFewestColumns = 256;
constexpr int64_t kColumnStep = 32;  // whole vectors, or pairs of them

}  // namespace

Cut::Cut(const Context& context, const ConvProblem& c, int64_t room,
         const std::function<int64_t(int64_t, int64_t)>& strip)
    : samples_(c.N),
      groups_(c.groups),
      P_(c.P()),
      Q_(c.Q()),
      nchw_(c.layout == Layout::nchw),
      halves_(c.dtype != DType::f32),
      large_(std::size_t(c.y_bytes()) > context.last_cache()),
      dense_(nchw_ ? c.Q() : c.K_per_group()),
      rows_(1),
      columns_(Q_) {
  const int threads = context.threads();
  const int64_t most = slot_limit(c, threads) - room;
  const int64_t budget = std::min(int64_t(context.core_cache() / sizeof(float)) / 4, most);
  // Rows that tasks share at their edges are copied twice: few columns cost less than few rows.
  while ((columns_ > kFewestColumns && strip(std::min(kRows, P_), columns_) > budget) ||
         (columns_ > kColumnStep && strip(1, columns_) > most))
    columns_ = round_up(columns_ / 2, kColumnStep);
  fits_ = strip(1, columns_) <= most;
  segments_ = ceil_div(Q_, columns_);
  const int64_t parts = std::max<int64_t>(samples_ * groups_ * segments_, 1);
  rows_ =
      std::clamp<int64_t>(ceil_div(parts * P_, kTasksPerThread * threads), 1, std::min(kRows, P_));
  while (rows_ > 1 && strip(rows_, columns_) > budget) --rows_;
  bands_ = std::min(round_up(ceil_div(P_, rows_), threads), P_);
  rows_ = ceil_div(P_, bands_);
}

Block Cut::task(int64_t i) const {
  const int64_t segment = i % segments_, band = i / segments_ % bands_;
  const int64_t g = i / segments_ / bands_ % groups_, n = i / segments_ / bands_ / groups_;
  const int64_t p = band * P_ / bands_, q = segment * columns_;
  return {n, g, p, (band + 1) * P_ / bands_ - p, q, std::min(columns_, Q_ - q)};
}

bool Cut::streams(const void* y, int lanes) const {
  if (halves_) return large_ && dense_ >= kColumnStep;
  const auto vector = std::size_t(lanes) * sizeof(float);
  return large_ && dense_ % lanes == 0 && (!nchw_ || columns_ % lanes == 0) &&
         reinterpret_cast<std::uintptr_t>(y) % vector == 0;
}

}  // namespace metalconv::cpu
