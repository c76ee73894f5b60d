// SPDX-License-Identifier: Apache-2.0
// Any bytes are a picture of the size that it says, or an Error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/formats.h"
#include "metalconv/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace metalconv;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  for (const auto decode : {image::decode_png, image::decode_jpeg}) try {
      const image::Picture p = decode(file);
      if (p.pixels.size() != std::size_t(p.width * p.height * p.channels)) std::abort();
    } catch (const Error&) {
    }
  const int orientation = image::jpeg_orientation(file);
  if (orientation < 1 || orientation > 8) std::abort();
  return 0;
}
