// SPDX-License-Identifier: Apache-2.0
// JPEG by libjpeg-turbo's own interface, which keeps setjmp on its own side.
#include <fmt/format.h>
#include <turbojpeg.h>

#include <memory>

#include "image/formats.h"
#include "metalconv/error.h"

namespace metalconv::image {
namespace {

constexpr int kQuality = 95;

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Codec = std::unique_ptr<void, Destroy>;

struct Free {
  void operator()(unsigned char* bytes) const { tjFree(bytes); }
};

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorCode::io, what); }

[[noreturn]] void fail_damaged(const Codec& codec) {
  fail(fmt::format("is a damaged JPEG: {}", tjGetErrorStr2(codec.get())));
}

}  // namespace

Picture decode_jpeg(std::string_view file) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  const Codec codec(tjInitDecompress());
  if (!codec) fail(fmt::format("cannot be read: {}", tjGetErrorStr2(nullptr)));
  int width = 0, height = 0, sampling = 0, space = 0;
  if (tjDecompressHeader3(codec.get(), bytes, file.size(), &width, &height, &sampling, &space) != 0)
    fail_damaged(codec);
  // Tables without a picture are a JPEG, too.
  if (width == 0 || height == 0) fail("is a damaged JPEG: it ends before its picture");
  check_size(width, height);
  if (space == TJCS_CMYK || space == TJCS_YCCK)
    fail("is a JPEG in CMYK, for print: only grey and RGB are read");
  const bool grey = space == TJCS_GRAY;
  Picture picture(width, height, grey ? 1 : 3);
  // A warning is what the library says of a file that was cut short and filled up with grey. The
  // limit on scans is against files that take minutes.
  if (tjDecompress2(codec.get(), bytes, file.size(), picture.pixels.data(), width, 0, height,
                    grey ? TJPF_GRAY : TJPF_RGB,
                    TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0)
    fail_damaged(codec);
  return turn_upright(std::move(picture), jpeg_orientation(file));
}

std::string encode_jpeg(const Picture& picture) {
  const Codec codec(tjInitCompress());
  if (!codec) fail(fmt::format("cannot be written: {}", tjGetErrorStr2(nullptr)));
  const bool grey = picture.channels == 1;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const int failed = tjCompress2(codec.get(), picture.pixels.data(), int(picture.width), 0,
                                 int(picture.height), grey ? TJPF_GRAY : TJPF_RGB, &bytes, &size,
                                 grey ? TJSAMP_GRAY : TJSAMP_444, kQuality, TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, Free> owner(bytes);
  if (failed) fail(fmt::format("cannot be written as JPEG: {}", tjGetErrorStr2(codec.get())));
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

std::string jpeg_library() { return METALCONV_JPEG_LIBRARY; }

}  // namespace metalconv::image
