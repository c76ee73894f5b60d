// SPDX-License-Identifier: Apache-2.0
// What this CPU can do at most: probes for writing, reading, copying and multiplying.
#pragma once

#include <vector>

#include "cpu/context.h"
#include "metalconv/device.h"

namespace metalconv::cpu {

/// write, read and copy at one working set a cache level, and fma. The context must outlive them;
/// buffers live as long as the probes.
std::vector<RoofProbe> roof_probes(const Context&);

}  // namespace metalconv::cpu
