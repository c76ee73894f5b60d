// SPDX-License-Identifier: Apache-2.0
// The file formats: bytes to pixels and back. A build without a format's library has a stub.
#pragma once

#include <string>
#include <string_view>

#include "image/picture.h"

namespace metalconv::image {

// Each throws Error with the rest of a sentence that begins with the path: "is damaged: ...".
Picture decode_png(std::string_view file);
std::string encode_png(const Picture& picture);
Picture decode_jpeg(std::string_view file);
std::string encode_jpeg(const Picture& picture);

/// 1 to 8 as EXIF counts them; 1, upright, when the JPEG does not say.
int jpeg_orientation(std::string_view file);
Picture turn_upright(Picture picture, int orientation);

}  // namespace metalconv::image
