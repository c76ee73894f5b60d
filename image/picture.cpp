// SPDX-License-Identifier: Apache-2.0
#include "image/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/files.h"
#include "image/formats.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

using std::int64_t;
using std::size_t;

enum class Format { png, jpeg };

/// "path: " and then what the format has to say.
template <class F>
auto naming(const std::string& path, F work) {
  try {
    return work();
  } catch (const Error& e) {
    throw Error(e.code(), fmt::format("{}: {}", path, e.what()));
  }
}

Format format_by_name(const std::string& path) {
  std::string ending = path.substr(std::min(path.rfind('.'), path.size()));
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  if (ending == ".png") return Format::png;
  if (ending == ".jpg" || ending == ".jpeg") return Format::jpeg;
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format("the picture to write is '{}', but must end in .png, .jpg or .jpeg", path));
}

Picture on_white(const Picture& picture) {
  Picture opaque(picture.width, picture.height, picture.colours());
  const int colours = picture.colours();
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const std::uint8_t* from = picture.at(x, y);
      const int alpha = from[colours];
      for (int c = 0; c < colours; ++c)
        opaque.at(x, y)[c] = std::uint8_t((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  return opaque;
}

/// Part of a row or column, in pixels: where it begins and ends, between pixels too.
struct Range {
  double begin, end;

  int64_t first() const { return int64_t(begin); }
  int64_t past() const { return int64_t(std::ceil(end)); }
  /// How much of pixel `i` lies in it.
  double share(int64_t i) const {
    return std::min(end, double(i + 1)) - std::max(begin, double(i));
  }
};

/// `length` pixels in equal parts.
std::vector<Range> ranges(int64_t length, int64_t parts) {
  std::vector<Range> all;
  for (int64_t i = 0; i < parts; ++i)
    all.push_back({double(i * length) / double(parts), double((i + 1) * length) / double(parts)});
  return all;
}

/// The mean pixel of an area. A colour weighs as much as it is opaque.
void average(const Picture& picture, Range columns, Range rows, std::uint8_t* mean) {
  const int colours = picture.colours();
  double sums[3] = {0, 0, 0}, weight = 0, area = 0;
  for (int64_t y = rows.first(); y < rows.past(); ++y)
    for (int64_t x = columns.first(); x < columns.past(); ++x) {
      const std::uint8_t* pixel = picture.at(x, y);
      const double share = rows.share(y) * columns.share(x);
      const double opaque = picture.has_alpha() ? share * pixel[colours] / 255 : share;
      area += share;
      weight += opaque;
      for (int c = 0; c < colours; ++c) sums[c] += opaque * pixel[c];
    }
  for (int c = 0; c < colours; ++c)
    mean[c] = weight > 0 ? std::uint8_t(std::lround(sums[c] / weight)) : std::uint8_t(0);
  if (picture.has_alpha()) mean[colours] = std::uint8_t(std::lround(255 * weight / area));
}

}  // namespace

Picture::Picture(int64_t w, int64_t h, int c) : width(w), height(h), channels(c) {
  check_size(w, h);
  pixels.resize(size_t(w * h * c));
}

void check_size(int64_t width, int64_t height) {
  if (width >= 1 && height >= 1 && width <= kMaxSide && height <= kMaxSide &&
      width * height <= kMaxPixels)
    return;
  throw Error(ErrorCode::too_large,
              fmt::format("the picture has {} x {} pixels, but must have 1 to {} a side and at "
                          "most {} million",
                          width, height, kMaxSide, kMaxPixels / 1000000));
}

Picture shrink(const Picture& picture, int64_t side) {
  const double factor = double(std::max(picture.width, picture.height)) / double(side);
  if (factor <= 1) return picture;
  const auto shrunk = [&](int64_t length) {
    return std::max<int64_t>(1, std::llround(double(length) / factor));
  };
  Picture small(shrunk(picture.width), shrunk(picture.height), picture.channels);
  const std::vector<Range> columns = ranges(picture.width, small.width);
  const std::vector<Range> rows = ranges(picture.height, small.height);
  for (int64_t y = 0; y < small.height; ++y)
    for (int64_t x = 0; x < small.width; ++x)
      average(picture, columns[size_t(x)], rows[size_t(y)], small.at(x, y));
  return small;
}

Picture read_picture(const std::string& path) {
  const std::string file = read_file(path, kMaxFileBytes);
  return naming(path, [&] {
    if (file.starts_with("\x89PNG\r\n\x1A\n")) return decode_png(file);
    if (file.starts_with("\xFF\xD8\xFF")) return decode_jpeg(file);
    throw Error(ErrorCode::io, file.empty() ? "is empty, not a picture"
                                            : "is neither a PNG nor a JPEG: it does not begin so");
  });
}

void check_writable(const std::string& path) {
  const bool png = format_by_name(path) == Format::png;
  metalconv::check_writable(path);
  if (!(png ? png_library() : jpeg_library()).empty()) return;
  naming(path, [&] { return png ? encode_png({}) : encode_jpeg({}); });  // the stub says why
}

void write_picture(const std::string& path, const Picture& picture) {
  const Format format = format_by_name(path);
  write_file(path, naming(path, [&] {
               if (format == Format::png) return encode_png(picture);
               return encode_jpeg(picture.has_alpha() ? on_white(picture) : picture);
             }));
}

}  // namespace metalconv::image
