// SPDX-License-Identifier: Apache-2.0
// Which way up a photo is: one number of the EXIF data in a JPEG. Cameras store the picture as the
// sensor lay.
#include <array>
#include <utility>

#include "image/formats.h"

namespace metalconv::image {
namespace {

using std::size_t;

/// Numbers of a text in either byte order; 0 past its end.
class Numbers {
 public:
  Numbers(std::string_view text, bool little) : text_(text), little_(little) {}
  std::uint32_t at(size_t place, size_t bytes) const {
    if (place > text_.size() || bytes > text_.size() - place) return 0;
    std::uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) {
      const size_t next = little_ ? bytes - 1 - i : i;
      value = value << 8 | static_cast<unsigned char>(text_[place + next]);
    }
    return value;
  }

 private:
  std::string_view text_;
  bool little_;
};

/// `tiff`: what follows "Exif\0\0". Its first directory has entries of 12 bytes: tag, type, count,
/// value.
int orientation_of(std::string_view tiff) {
  const std::string_view order = tiff.substr(0, 2);
  if (order != "II" && order != "MM") return 1;
  const Numbers numbers(tiff, order == "II");
  const size_t directory = numbers.at(4, 4);
  const size_t entries = numbers.at(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (numbers.at(entry, 2) != 0x0112) continue;
    const auto value = int(numbers.at(entry + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

}  // namespace

int jpeg_orientation(std::string_view file) {
  using namespace std::string_view_literals;
  const Numbers numbers(file, false);
  // Segments: FF, a marker, a length that counts itself, the data; the pixels begin at marker DA.
  for (size_t at = 2; numbers.at(at, 1) == 0xFF && numbers.at(at + 1, 1) != 0xDA;) {
    const size_t length = numbers.at(at + 2, 2);
    if (length < 2) break;
    if (numbers.at(at + 1, 1) == 0xE1) {
      const std::string_view data = file.substr(std::min(at + 4, file.size()), length - 2);
      if (data.substr(0, 6) == "Exif\0\0"sv) return orientation_of(data.substr(6));
    }
    at += 2 + length;
  }
  return 1;
}

Picture turn_upright(Picture stored, int orientation) {
  if (orientation == 1) return stored;
  const bool swapped = orientation >= 5;
  const std::int64_t width = swapped ? stored.height : stored.width;
  const std::int64_t height = swapped ? stored.width : stored.height;
  Picture upright(width, height, stored.channels);
  // Where the stored picture has the pixel that is seen at x, y.
  const auto source = [&](std::int64_t x, std::int64_t y) -> std::pair<std::int64_t, std::int64_t> {
    const std::int64_t right = stored.width - 1, bottom = stored.height - 1;
    switch (orientation) {
      case 2:
        return {right - x, y};
      case 3:
        return {right - x, bottom - y};
      case 4:
        return {x, bottom - y};
      case 5:
        return {y, x};
      case 6:
        return {y, bottom - x};
      case 7:
        return {right - y, bottom - x};
      case 8:
        return {right - y, x};
      default:
        return {x, y};
    }
  };
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const auto [from_x, from_y] = source(x, y);
      const std::uint8_t* from = stored.at(from_x, from_y);
      std::copy(from, from + stored.channels, upright.at(x, y));
    }
  return upright;
}

}  // namespace metalconv::image
