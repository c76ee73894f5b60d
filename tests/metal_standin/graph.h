// SPDX-License-Identifier: Apache-2.0
// The stand-in for MPSGraph: operations are recorded, and computed in double precision when the
// command buffer that they were encoded in runs; each result is rounded to its type. What it knows
// of layouts, paddings and the order of inputs is read from Apple's documentation, as vendor.mm is.
#pragma once

#include <string>

#include "metal_standin/foundation.h"

namespace metalconv::standin {

struct ExceptionObject : Object {
  explicit ExceptionObject(const std::string& words);
  void dispose() override { reason = {}; }
  Strong<String> reason;
};

/// Raises an NSException.
[[noreturn]] void raise(const std::string& reason);

void define_graph();

}  // namespace metalconv::standin
