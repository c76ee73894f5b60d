// SPDX-License-Identifier: Apache-2.0
// The headers that translated kernels include, embedded in the library.
#pragma once

#include <span>

#include "core/embedded.h"

namespace metalconv::emulator {

std::span<const EmbeddedFile> kernel_headers();

}  // namespace metalconv::emulator
