// SPDX-License-Identifier: Apache-2.0
// What estimates reckon with on Apple's GPUs: figures published of the chips, not measured by us.
#pragma once

#include <string>

#include "gpu/runtime.h"

namespace metalconv::metal {

struct ChipRates {
  gpu::Rates rates;
  std::string basis;  ///< in words: "5.31 TFLOP/s and 172 GB/s, published figures of ..."
};

/// Of the GPU that Metal calls `name` ("Apple M1 Pro"), with so many cores; 0: not known. A chip
/// that is not known is estimated by its cores, a GPU that is not Apple's not at all.
ChipRates chip_rates(const std::string& name, int cores);

}  // namespace metalconv::metal
