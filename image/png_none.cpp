// SPDX-License-Identifier: Apache-2.0
// A build without libpng.
#include "image/formats.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

[[noreturn]] void fail() {
  throw Error(ErrorCode::unsupported,
              "is a PNG, but this build has no libpng (Debian: libpng-dev, Homebrew: libpng)");
}

}  // namespace

Picture decode_png(std::string_view) { fail(); }
std::string encode_png(const Picture&) { fail(); }
std::string png_library() { return {}; }

}  // namespace metalconv::image
