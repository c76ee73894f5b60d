// SPDX-License-Identifier: Apache-2.0
// What the targets share: the words of Metal for which C++ has none.
#pragma once

#include "msl/edits.h"
#include "msl/program.h"

namespace metalconv::msl {

/// device, threadgroup, thread vanish, constant becomes const: a CUDA or CPU pointer reaches all.
void erase_address_spaces(const Program&, Edits&);

/// In Metal 1.0 is a float and 1.0h a half; in C++ the one is a double and the other nothing.
void type_literals(const Program&, Edits&);

/// The system headers stand before the text.
void erase_includes(const Program&, Edits&);

void erase_kernel_attributes(const Kernel&, Edits&);

/// "#line 1 "kernels/basic.metal"" with its line break.
std::string line_directive(const Program&);

}  // namespace metalconv::msl
