// SPDX-License-Identifier: Apache-2.0
// A picture of 8-bit pixels, and the files that hold one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace metalconv::image {

/// What is read, made and written at most.
inline constexpr std::int64_t kMaxSide = 32768;
inline constexpr std::int64_t kMaxPixels = std::int64_t(1) << 26;
inline constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t(256) << 20;

/// Rows from top to bottom, the channels of a pixel side by side: 1 grey; 2 grey, alpha; 3 red,
/// green, blue; 4 the same and alpha. Values are sRGB as files store them; colours are not
/// multiplied by alpha.
struct Picture {
  std::int64_t width = 0, height = 0;
  int channels = 3;
  std::vector<std::uint8_t> pixels;

  Picture() = default;
  /// Black, or transparent. Throws Error{too_large} as check_size does.
  Picture(std::int64_t w, std::int64_t h, int c);

  bool operator==(const Picture&) const = default;

  bool has_alpha() const { return channels % 2 == 0; }
  int colours() const { return channels < 3 ? 1 : 3; }
  std::uint8_t* at(std::int64_t x, std::int64_t y) { return &pixels[index(x, y)]; }
  const std::uint8_t* at(std::int64_t x, std::int64_t y) const { return &pixels[index(x, y)]; }

 private:
  std::size_t index(std::int64_t x, std::int64_t y) const {
    return std::size_t((y * width + x) * channels);
  }
};

/// Throws Error{too_large} for a picture without pixels or beyond kMaxSide or kMaxPixels.
void check_size(std::int64_t width, std::int64_t height);

/// Shrunk by averaging areas until no side is longer than `side`; as it is when none is.
Picture shrink(const Picture& picture, std::int64_t side);

/// Read a PNG (any depth and interlacing, palettes too; 16 bits become 8) or a JPEG (grey or
/// colour, turned as its EXIF orientation says), whatever its name. Throws Error{io} that names the
/// path for what is neither, damaged, cut short or above kMaxFileBytes; Error{too_large} for sizes
/// beyond check_size, before memory of that size is allocated.
Picture read_picture(const std::string& path);

/// Throws Error{invalid_argument} unless `path` ends in .png, .jpg or .jpeg, in any case, and this
/// build writes that format.
void check_writable(const std::string& path);

/// Write the format that the name ends in, whole or not at all. A JPEG, of quality 95 with full
/// colour, has no alpha: the picture is laid on white. Throws Error as check_writable does,
/// Error{io} that names the path.
void write_picture(const std::string& path, const Picture& picture);

/// "libpng 1.6.39"; empty when this build has none.
std::string png_library();
/// "libjpeg-turbo 2.1.5"; empty when this build has none.
std::string jpeg_library();

}  // namespace metalconv::image
