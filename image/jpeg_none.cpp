// SPDX-License-Identifier: Apache-2.0
// A build without libjpeg-turbo.
#include "image/formats.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

[[noreturn]] void fail() {
  throw Error(ErrorCode::unsupported,
              "is a JPEG, but this build has no libjpeg-turbo (Debian: libturbojpeg0-dev, "
              "Homebrew: jpeg-turbo)");
}

}  // namespace

Picture decode_jpeg(std::string_view) { fail(); }
std::string encode_jpeg(const Picture&) { fail(); }
std::string jpeg_library() { return {}; }

}  // namespace metalconv::image
