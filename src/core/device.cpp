// SPDX-License-Identifier: Apache-2.0
#include "metalconv/device.h"

#include <fmt/format.h>

#include "metalconv/error.h"

namespace metalconv {

std::unique_ptr<Queue> Device::make_queue_on(void*) {
  throw Error(ErrorCode::unsupported,
              fmt::format("the device {} has no streams that a queue could be on", info().name));
}

}  // namespace metalconv
