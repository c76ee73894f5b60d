// SPDX-License-Identifier: Apache-2.0
// Any bytes are a header that lies within them, or an Error.
#include <cstdint>
#include <cstdlib>

#include "cli/npy.h"
#include "metalconv/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace metalconv;
  try {
    const cli::NpyHeader header =
        cli::parse_npy_header({reinterpret_cast<const char*>(data), size});
    if (header.header_bytes > size || header.data_bytes % size_of(header.dtype) != 0) std::abort();
    for (const std::int64_t length : header.shape)
      if (length < 0) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
