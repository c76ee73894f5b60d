// SPDX-License-Identifier: Apache-2.0
// The kernels of the CPU device, one function a row.
#pragma once

#include <string>
#include <vector>

#include "core/registry.h"
#include "cpu/context.h"

namespace metalconv::cpu {

KernelRow basic_row(const Context&);
KernelRow direct_row(const Context&);
KernelRow general_row(const Context&);
KernelRow conv1x1_row(const Context&);
KernelRow depthwise_row(const Context&);
KernelRow winograd_row(const Context&);
KernelRow winograd_f2_row(const Context&);
KernelRow winograd_f4_row(const Context&);

/// Vendor rows, one a oneDNN version found ("onednn-2.6.3"); empty when there is none. Each line
/// appended to `notes` says what was looked for and not found.
std::vector<KernelRow> vendor_rows(const Context&, std::vector<std::string>* notes);

/// Instruction sets that the optimized kernels were compiled for and the machine runs, best first.
std::vector<std::string> supported_isas();

}  // namespace metalconv::cpu
