// SPDX-License-Identifier: Apache-2.0
// What the kernels of this device make of the arguments of execute().
#pragma once

#include <tbb/task_arena.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "cpu/arithmetic.h"
#include "cpu/convert.h"
#include "metalconv/problem.h"
#include "metalconv/tensor.h"

namespace metalconv::cpu {

struct Call {
  const void* x;      ///< of the problem's dtype, as y is
  const float* w;     ///< packed
  const float* bias;  ///< null when the problem has none
  void* y;
  const Converter& convert;

  /// `bias_room` takes the K floats of a bias of halves.
  Call(const ConvProblem& problem, const TensorView& x_view, Memory packed,
       const TensorView& bias_view, const TensorView& y_view, const Converter& converter,
       float* bias_room)
      : x(x_view.memory.address()),
        w(static_cast<const float*>(packed.address())),
        bias(nullptr),
        y(y_view.memory.address()),
        convert(converter) {
    if (!problem.bias) return;
    const void* from = bias_view.memory.address();
    bias = convert.halves() ? bias_room : static_cast<const float*>(from);
    if (convert.halves()) convert.to_f32(from, bias_room, problem.K);
  }

  /// Element i of y, where y is f32.
  float* floats(std::int64_t i) const { return static_cast<float*>(y) + i; }
  /// n elements of y from element i on.
  void store(const float* from, std::int64_t n, std::int64_t i) const {
    if (convert.halves())
      convert.from_f32(from, convert.at(y, i), n);
    else
      std::copy_n(from, n, floats(i));
  }
};

/// A 1x1 kernel that takes every pixel sees no rows: one long row has no ends.
inline ConvProblem without_rows(ConvProblem c) {
  const bool every_pixel =
      c.R == 1 && c.S == 1 && c.stride_h == 1 && c.stride_w == 1 && c.P() == c.H && c.Q() == c.W;
  if (every_pixel) c.W *= std::exchange(c.H, 1);
  return c;
}

/// Floats at the head of a workspace that the bias takes.
inline std::int64_t bias_floats(const ConvProblem& problem) {
  return problem.bias && problem.dtype != DType::f32 ? problem.K : 0;
}

/// Bytes a thread that a plan may take where both tensors are smaller: room for register tiles.
constexpr std::int64_t kSmallSlot = 64 << 10;

/// Bytes that the workspace of a plan may take: those of the larger tensor.
inline std::int64_t workspace_limit(const ConvProblem& problem, int threads) {
  return std::max({problem.x_bytes(), problem.y_bytes(), kSmallSlot * threads});
}

/// Floats that such a workspace leaves to each thread's slot; see Slots.
inline std::int64_t slot_limit(const ConvProblem& problem, int threads) {
  const std::int64_t floats = workspace_limit(problem, threads) / std::int64_t(sizeof(float));
  return (floats - kLine - round_up(bias_floats(problem), kLine)) / threads / kLine * kLine;
}

/// The workspace of kernels that give each thread the same number of floats, behind a head that all
/// share.
class Slots {
 public:
  Slots(int threads, std::int64_t floats, std::int64_t head = 0)
      : threads_(threads), floats_(round_up(floats, kLine)), head_(round_up(head, kLine)) {}

  std::size_t bytes() const {
    return std::size_t(head_ + threads_ * floats_ + kLine) * sizeof(float);
  }
  /// At the start of a cache line, as are all slots.
  float* head(Memory workspace) const {
    void* first = workspace.address();
    std::size_t room = workspace.bytes;
    std::align(kLine * sizeof(float), 1, first, room);
    return static_cast<float*>(first);
  }
  /// That of the calling thread.
  float* mine(Memory workspace) const {
    // One thread works in the caller's own arena, where the index says nothing.
    const int index = threads_ > 1 ? tbb::this_task_arena::current_thread_index() : 0;
    return head(workspace) + head_ + index * floats_;
  }

 private:
  int threads_;
  std::int64_t floats_, head_;
};

}  // namespace metalconv::cpu
