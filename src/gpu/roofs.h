// SPDX-License-Identifier: Apache-2.0
// The measurable ceilings of a GPU.
#pragma once

#include <vector>

#include "gpu/conv.h"

namespace metalconv::gpu {

/// write, read and copy over 16, 64 and 256 MiB as far as the memory has room, and fma. Allocates
/// the working sets; the probes keep them. Both references must outlive the probes.
std::vector<RoofProbe> roof_probes(Runtime& runtime, KernelCache& cache);

/// What they compile.
std::vector<KernelKey> roof_keys();

}  // namespace metalconv::gpu
