// SPDX-License-Identifier: Apache-2.0
// Any bytes are a result that is written as it was read, or an Error.
#include <cstdint>
#include <cstdlib>

#include "bench/json.h"
#include "metalconv/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace metalconv;
  try {
    const std::string once =
        bench::to_json(bench::from_json({reinterpret_cast<const char*>(data), size}));
    if (bench::to_json(bench::from_json(once)) != once) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
