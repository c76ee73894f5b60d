// SPDX-License-Identifier: Apache-2.0
// What every runtime refuses before it launches.
#pragma once

#include <fmt/format.h>

#include <span>
#include <string>

#include "gpu/runtime.h"
#include "metalconv/error.h"

namespace metalconv::gpu {

/// Metal's argument table has this many buffers, and kernels must run there.
inline constexpr std::size_t kMaxArguments = 31;

inline std::string to_text(const Extent& e) { return fmt::format("{} x {} x {}", e.x, e.y, e.z); }

/// Throws Error{invalid_argument} for what `kernel` or the device's `limits` do not allow.
inline void check_launch(const Kernel& kernel, const Limits& limits, const LaunchShape& shape,
                         std::span<const Argument> arguments) {
  const auto fail = [](const std::string& sentence) {
    throw Error(ErrorCode::invalid_argument, sentence);
  };
  const double threads = shape.threads.count();
  if (threads < 1 || threads > kernel.max_threads())
    fail(fmt::format("a threadgroup of kernel '{}' is {} threads, but must be 1 to {} in all",
                     kernel.name(), to_text(shape.threads), kernel.max_threads()));
  const auto fits = [](std::uint32_t groups, std::uint32_t size, std::uint32_t most) {
    return groups <= most && std::uint64_t(groups) * size <= UINT32_MAX;
  };
  const auto &groups = shape.groups, &size = shape.threads;
  if (!fits(groups.x, size.x, limits.groups.x) || !fits(groups.y, size.y, limits.groups.y) ||
      !fits(groups.z, size.z, limits.groups.z))
    fail(
        fmt::format("a grid of kernel '{}' is {} threadgroups of {} threads, but a position must "
                    "fit 32 bits along each axis and the device has at most {} threadgroups",
                    kernel.name(), to_text(groups), to_text(size), to_text(limits.groups)));
  if (arguments.size() > kMaxArguments)
    fail(fmt::format("a launch of kernel '{}' has {} arguments, but a kernel has at most {}",
                     kernel.name(), arguments.size(), kMaxArguments));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto* bytes = std::get_if<Bytes>(&arguments[i]);
    if (bytes && bytes->size() > limits.constant_bytes)
      fail(
          fmt::format("argument {} of kernel '{}' holds {} bytes of constants, but at most {} are "
                      "allowed",
                      i, kernel.name(), bytes->size(), limits.constant_bytes));
  }
}

}  // namespace metalconv::gpu
