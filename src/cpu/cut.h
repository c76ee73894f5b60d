// SPDX-License-Identifier: Apache-2.0
// How the outputs of a problem are cut into tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cpu/context.h"
#include "cpu/strip.h"
#include "metalconv/problem.h"

namespace metalconv::cpu {

class Cut {
 public:
  /// Strips, whose floats for a block of rows x columns are `strip`, take a quarter of the core's
  /// cache, and with `room` no more than a slot may; there are enough tasks that no thread waits
  /// long at the end.
  Cut(const Context& context, const ConvProblem& problem, std::int64_t room,
      const std::function<std::int64_t(std::int64_t rows, std::int64_t columns)>& strip);

  /// Whether a slot holds the smallest block that it could.
  bool fits() const { return fits_; }

  std::int64_t rows() const { return rows_; }        ///< of a block, at most
  std::int64_t columns() const { return columns_; }  ///< likewise
  std::int64_t tasks() const { return samples_ * groups_ * bands_ * segments_; }
  Block task(std::int64_t i) const;

  /// Whether non-temporal stores of vectors of `lanes` floats can and should write y: every vector
  /// is aligned, and the output does not fit the last cache. Of halves, which their converter
  /// aligns, runs must be long.
  bool streams(const void* y, int lanes) const;

 private:
  std::int64_t samples_, groups_, P_, Q_;
  bool nchw_, halves_;
  bool large_;          ///< beyond the last cache
  std::int64_t dense_;  ///< neighbouring floats of y that a kernel writes together
  std::int64_t rows_, columns_, bands_, segments_;
  bool fits_;
};

}  // namespace metalconv::cpu
