// SPDX-License-Identifier: Apache-2.0
// A driver and a compiler that stand in for NVIDIA's where there is no GPU: they keep the driver's
// rules (a current context, capture, releases) and run a few kernels on host memory, so that the
// CUDA runtime's host code is tested. The test finds these functions in the fake libcuda.so.1.
#pragma once

#include <cstdint>
#include <functional>

namespace metalconv::fake_cuda {

/// Seconds that every executed launch adds to the device's clock.
inline constexpr double kLaunchSeconds = 1e-3;

struct Counters {
  int contexts = 0;  ///< retained
  int blocks = 0;    ///< of memory
  int modules = 0, streams = 0, events = 0, graphs = 0;
  int launches = 0;  ///< executed, replays included
  int graph_runs = 0;
  int stacked = 0;  ///< contexts current on this thread

  bool operator==(const Counters&) const = default;
};

/// What the kernels of the stand-in take by value.
struct AddParams {
  std::uint32_t count = 0;
  float value = 0;
};

extern "C" {
/// extern "C" functions of the fake driver: `fake_cuda_counters`, `fake_cuda_fail`,
/// `fake_cuda_enqueue`.
using CountersFunction = Counters();
/// The next call of `function` returns `code` and does nothing.
using FailFunction = void(const char* function, int code);
/// Work of a library on a stream, which adds `seconds` to the device's clock.
using EnqueueFunction = void(void* stream, const std::function<void()>& work, double seconds);
}

}  // namespace metalconv::fake_cuda
