// SPDX-License-Identifier: Apache-2.0
// PNG by libpng's simplified interface, which keeps setjmp on its own side.
#include <fmt/format.h>
#include <png.h>

#include "image/formats.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

/// libpng's own view of a picture, freed whatever happens.
struct PngImage : png_image {
  PngImage() : png_image{} { version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(this); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
};

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::io, what); }

std::uint32_t big_endian(std::string_view four) {
  std::uint32_t value = 0;
  for (const char c : four) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

/// libpng stops reading after the last pixel: that a file goes on to its end is for us to see. A
/// chunk is its length, four letters, its data and four bytes of checksum.
bool reaches_its_end(std::string_view file) {
  constexpr std::size_t kSignature = 8, kAround = 12;
  for (std::size_t at = kSignature; at + kAround <= file.size();) {
    const std::uint32_t length = big_endian(file.substr(at, 4));
    if (length > file.size() - at - kAround) return false;
    if (file.substr(at + 4, 4) == "IEND") return true;
    at += kAround + length;
  }
  return false;
}

}  // namespace

Picture decode_png(std::string_view file) {
  if (!reaches_its_end(file)) fail("is a PNG that was cut short");
  PngImage png;
  if (!png_image_begin_read_from_memory(&png, file.data(), file.size()))
    fail(fmt::format("is a damaged PNG: {}", png.message));
  check_size(png.width, png.height);
  // Colour and alpha as they are, palettes as colours, 16 bits (sRGB where they do not say) as 8.
  png.format &= PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA;
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  Picture picture(png.width, png.height, int(PNG_IMAGE_SAMPLE_CHANNELS(png.format)));
  if (!png_image_finish_read(&png, nullptr, picture.pixels.data(), 0, nullptr))
    fail(fmt::format("is a damaged PNG: {}", png.message));
  return picture;
}

std::string encode_png(const Picture& picture) {
  PngImage png;
  png.width = png_uint_32(picture.width);
  png.height = png_uint_32(picture.height);
  png.format = (picture.colours() == 3 ? PNG_FORMAT_FLAG_COLOR : 0u) |
               (picture.has_alpha() ? PNG_FORMAT_FLAG_ALPHA : 0u);
  std::string file(PNG_IMAGE_PNG_SIZE_MAX(png), '\0');
  png_alloc_size_t size = file.size();
  if (!png_image_write_to_memory(&png, file.data(), &size, 0, picture.pixels.data(), 0, nullptr))
    fail(fmt::format("cannot be written as PNG: {}", png.message));
  file.resize(size);
  return file;
}

std::string png_library() { return std::string("libpng ") + png_get_libpng_ver(nullptr); }

}  // namespace metalconv::image
