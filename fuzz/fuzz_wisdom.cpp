// SPDX-License-Identifier: Apache-2.0
// Any bytes are wisdom that is written as it was read, or an Error.
#include <cstdint>
#include <cstdlib>

#include "metalconv/error.h"
#include "metalconv/wisdom.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace metalconv;
  try {
    const Wisdom once = parse_wisdom({reinterpret_cast<const char*>(data), size});
    const Wisdom again = parse_wisdom(to_text(once));
    if (again.entries() != once.entries() || again.provenance() != once.provenance()) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
