// SPDX-License-Identifier: Apache-2.0
#include "gpu/rows.h"

#include <iterator>

namespace metalconv::gpu {

std::vector<ConvKernel> conv_kernels() {
  // Of equal costs (both bound by bytes) the planner takes the first.
  std::vector<ConvKernel> kernels{basic_kernel(),       direct_kernel(),      depthwise_kernel(),
                                  winograd_f2_kernel(), winograd_f4_kernel(), matrix_kernel(),
                                  matrix_f32_kernel(),  general_kernel()};
  std::vector<ConvKernel> ladder = ladder_kernels();
  std::move(ladder.begin(), ladder.end(), std::back_inserter(kernels));
  return kernels;
}

}  // namespace metalconv::gpu
