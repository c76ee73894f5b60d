// SPDX-License-Identifier: Apache-2.0
#include "metalconv/error.h"
#include "metalconv/metal.h"

namespace metalconv {

std::unique_ptr<Device> make_metal_device(const MetalOptions&) {
  throw Error(ErrorCode::device, METALCONV_METAL_ABSENCE);
}

}  // namespace metalconv
