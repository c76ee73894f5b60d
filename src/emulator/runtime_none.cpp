// SPDX-License-Identifier: Apache-2.0
// A build without Boost.Context.
#include "emulator/runtime.h"
#include "metalconv/error.h"

namespace metalconv::emulator {

std::unique_ptr<gpu::Runtime> make_runtime(const Options&) {
  throw Error(ErrorCode::device, unavailable());
}

std::string unavailable() {
  return "this build has no emulator: Boost.Context was not found (Debian: libboost-context-dev)";
}

}  // namespace metalconv::emulator
