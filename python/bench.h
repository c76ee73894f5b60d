// SPDX-License-Identifier: Apache-2.0
// The benchmark from Python.
#pragma once

#include <string>
#include <vector>

#include "metalconv/plan.h"

namespace metalconv::python {

/// Verifies, then times `targets` (workload names or problem texts) on a device; the result as JSON
/// (docs/json-schema.md). Ctrl-C ends it with KeyboardInterrupt.
std::string bench(const std::vector<std::string>& targets, const std::string& device,
                  const std::vector<std::string>& implementations, bool every_kernel, bool time,
                  bool cold, double budget);

}  // namespace metalconv::python
