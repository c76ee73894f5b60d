// SPDX-License-Identifier: Apache-2.0
// A Device over any GPU runtime: our kernels' rows, those of its own, then the vendor's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/registry.h"
#include "gpu/runtime.h"

namespace metalconv::gpu {

struct DeviceParts {
  std::unique_ptr<Runtime> runtime;
  std::vector<KernelRow> vendor;  ///< may refer to the runtime, which outlives them
  std::map<std::string, std::string> facts;
  bool timed = true;  ///< false: for truth, not for speed, and without roofs
  /// Ours that this device alone has, of NHWC; NCHW is turned around for them. May refer to the
  /// runtime, too.
  std::vector<KernelRow> own{};
  std::function<std::vector<RoofProbe>()> own_roofs{};  ///< null: none
};

/// Keeps the runtime alive, and destroys the rows before it.
std::unique_ptr<Device> make_device(DeviceParts parts);

/// A kernel text by its name ("direct.metal"), local includes inlined: the same string for every
/// runtime. Throws Error{invalid_argument} when there is no such file.
const Source& kernel_source(std::string_view file);

}  // namespace metalconv::gpu
