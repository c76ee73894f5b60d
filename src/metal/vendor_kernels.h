// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "core/embedded.h"

namespace metalconv::metal {

/// vendor_pack.metal, embedded.
std::span<const EmbeddedFile> vendor_kernels();

}  // namespace metalconv::metal
