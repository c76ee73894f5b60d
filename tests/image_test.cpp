// SPDX-License-Identifier: Apache-2.0
// Pictures: files there and back, files that are not what they say, and filters against plain sums.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "core/files.h"
#include "expect_error.h"
#include "image/demo.h"
#include "image/filters.h"
#include "image/formats.h"
#include "image/sheet.h"
#include "metalconv/cpu.h"
#include "wrong_device.h"

namespace metalconv::image {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;
using std::int64_t;
using test::expect_error;
using test::sentence_of;
using testing::HasSubstr;

Picture random_picture(int64_t width, int64_t height, int channels, unsigned seed = 1) {
  Picture picture(width, height, channels);
  std::mt19937 random(seed);
  for (auto& value : picture.pixels) value = std::uint8_t(random());
  return picture;
}

/// A gradient: JPEG keeps it nearly.
Picture smooth_picture(int64_t width, int64_t height, int channels) {
  Picture picture(width, height, channels);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        picture.at(x, y)[c] = std::uint8_t(x * 255 / width * (c + 1) / 4 + y * 64 / height);
  return picture;
}

class ImageFiles : public testing::Test {
 protected:
  ImageFiles() : folder_(testing::TempDir() + "metalconv_image_test_" + std::to_string(getpid())) {
    fs::create_directories(folder_);
  }
  ~ImageFiles() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string refusal(const std::string& bytes) const {
    const std::string file = path("hostile");
    std::ofstream(file, std::ios::binary) << bytes;
    const std::string sentence = sentence_of([&] { read_picture(file); });
    EXPECT_EQ(sentence.substr(0, file.size() + 2), file + ": ");
    return sentence;
  }

  fs::path folder_;
};

class Png : public ImageFiles {
 protected:
  void SetUp() override {
    if (png_library().empty()) GTEST_SKIP() << "this build has no libpng";
  }
};

class Jpeg : public ImageFiles {
 protected:
  void SetUp() override {
    if (jpeg_library().empty()) GTEST_SKIP() << "this build has no libjpeg-turbo";
  }
};

// ---- PNG, chunk by chunk

std::string big_endian(std::uint32_t value) {
  return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

std::uint32_t crc32(const std::string& data) {
  std::uint32_t crc = ~0U;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320U : 0);
  }
  return ~crc;
}

std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(std::uint32_t(data.size())) + type + data + big_endian(crc32(type + data));
}

/// zlib's container around bytes that are not compressed.
std::string stored(const std::string& data) {
  const auto size = std::uint16_t(data.size());
  const auto inverse = std::uint16_t(~size);
  std::uint32_t a = 1, b = 0;
  for (const char c : data) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return "\x78\x01\x01"s + char(size & 255) + char(size >> 8) + char(inverse & 255) +
         char(inverse >> 8) + data + big_endian(b << 16 | a);
}

struct Header {
  std::uint32_t width, height;
  int depth, type, interlace = 0;
};

std::string png_file(const Header& h, const std::string& rows,
                     const std::string& before_data = {}) {
  return "\x89PNG\r\n\x1A\n"s +
         chunk("IHDR", big_endian(h.width) + big_endian(h.height) + char(h.depth) + char(h.type) +
                           "\0\0"s + char(h.interlace)) +
         before_data + chunk("IDAT", stored(rows)) + chunk("IEND", "");
}

TEST_F(Png, RoundTripsAreExact) {
  for (int channels : {1, 2, 3, 4})
    for (const auto& [width, height] : {std::pair<int64_t, int64_t>{1, 1}, {37, 5}, {64, 61}}) {
      const Picture picture = random_picture(width, height, channels);
      write_picture(path("a.PNG"), picture);
      EXPECT_EQ(read_picture(path("a.PNG")), picture) << width << "x" << height << "x" << channels;
    }
}

TEST_F(Png, SixteenBitsBecomeEight) {
  const Picture picture =
      decode_png(png_file({2, 1, 16, 2}, "\0\xFF\xFF\0\0\x80\x80"s + "\x12\x12\x40\x40\xFE\xFE"s));
  EXPECT_EQ(picture.channels, 3);
  EXPECT_THAT(picture.pixels, testing::ElementsAre(255, 0, 128, 18, 64, 254));
}

TEST_F(Png, PalettesBecomeColours) {
  const std::string palette = chunk("PLTE", "\xFF\0\0\0\0\xFF"s);
  const std::string rows = "\0\x40"s;  // one bit a pixel: 0, 1
  EXPECT_THAT(decode_png(png_file({2, 1, 1, 3}, rows, palette)).pixels,
              testing::ElementsAre(255, 0, 0, 0, 0, 255));
  const Picture alpha = decode_png(png_file({2, 1, 1, 3}, rows, palette + chunk("tRNS", "\x55"s)));
  EXPECT_THAT(alpha.pixels, testing::ElementsAre(255, 0, 0, 0x55, 0, 0, 255, 255));
}

TEST_F(Png, InterlacedPicturesAreReadInTheirOrder) {
  // 2 x 2: the first pass has the pixel above left, the sixth the one to its right, the last the
  // row below.
  const Picture picture = decode_png(png_file({2, 2, 8, 0, 1}, "\0\1\0\2\0\3\4"s));
  EXPECT_THAT(picture.pixels, testing::ElementsAre(1, 2, 3, 4));
}

TEST_F(Png, EveryBeginningOfAFileIsRefused) {
  const std::string file = encode_png(random_picture(9, 7, 4));
  for (std::size_t length = 0; length < file.size(); ++length) {
    const std::string sentence = refusal(file.substr(0, length));
    EXPECT_THAT(sentence, testing::AnyOf(HasSubstr("cut short"), HasSubstr("neither a PNG"),
                                         HasSubstr("is empty")))
        << length;
  }
}

TEST_F(Png, EveryFlippedByteIsReadOrRefusedInWords) {
  const std::string file = encode_png(random_picture(5, 4, 3));
  int refused = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string bad = file;
    bad[at] = char(bad[at] ^ 0xA5);
    try {
      decode_png(bad);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, int(file.size()) / 2);  // most bytes are under a checksum
}

TEST_F(Png, SizesAreLookedAtBeforeMemoryIsTaken) {
  const std::string rows = "\0\0"s;
  EXPECT_THAT(refusal(png_file({32769, 1, 8, 0}, rows)),
              HasSubstr("the picture has 32769 x 1 pixels, but must have 1 to 32768 a side and at "
                        "most 67 million"));
  EXPECT_THAT(refusal(png_file({32768, 32768, 8, 6}, rows)), HasSubstr("32768 x 32768 pixels"));
  EXPECT_THAT(refusal(png_file({0x7FFFFFFF, 0x7FFFFFFF, 8, 6}, rows)), HasSubstr("damaged PNG"));
  EXPECT_THAT(refusal(png_file({0x80000000, 0x80000000, 8, 6}, rows)), HasSubstr("damaged PNG"));
  EXPECT_THAT(refusal(png_file({0, 5, 8, 6}, rows)), HasSubstr("damaged PNG"));
}

TEST_F(Png, DataThatIsLessThanThePictureIsRefused) {
  EXPECT_THAT(refusal(png_file({2, 2, 8, 0}, "\0\1\2"s)), HasSubstr("damaged PNG"));
  EXPECT_THAT(refusal(png_file({1, 1, 7, 0}, "\0\1"s)), HasSubstr("damaged PNG"));
}

TEST_F(Png, AFailedWriteLeavesTheOldPicture) {
  const Picture old = random_picture(3, 3, 1);
  write_picture(path("a.png"), old);
  EXPECT_THAT(sentence_of([&] { write_picture(path("missing/a.png"), old); }),
              HasSubstr("missing/a.png"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
  EXPECT_EQ(read_picture(path("a.png")), old);
}

// ---- JPEG

TEST_F(Jpeg, RoundTripsAreNear) {
  for (int channels : {1, 3}) {
    const Picture picture = smooth_picture(61, 43, channels);
    write_picture(path("a.jpg"), picture);
    const Picture back = read_picture(path("a.jpg"));
    ASSERT_EQ(back.width, 61);
    ASSERT_EQ(back.height, 43);
    ASSERT_EQ(back.channels, channels);
    for (std::size_t i = 0; i < back.pixels.size(); ++i)
      ASSERT_NEAR(back.pixels[i], picture.pixels[i], 6);
  }
}

TEST_F(Jpeg, AlphaIsLaidOnWhite) {
  Picture picture(16, 16, 4);  // transparent black
  write_picture(path("a.jpeg"), picture);
  const Picture back = read_picture(path("a.jpeg"));
  EXPECT_EQ(back.channels, 3);
  EXPECT_THAT(back.pixels, testing::Each(255));
}

TEST_F(Jpeg, EveryBeginningOfAFileIsRefused) {
  const std::string file = encode_jpeg(smooth_picture(24, 17, 3));
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_THAT(refusal(file.substr(0, length)),
                testing::AnyOf(HasSubstr("damaged JPEG"), HasSubstr("neither a PNG"),
                               HasSubstr("is empty")))
        << length << " of " << file.size();
}

TEST_F(Jpeg, EveryFlippedByteIsReadOrRefusedInWords) {
  const std::string file = encode_jpeg(smooth_picture(16, 9, 3));
  int refused = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string bad = file;
    bad[at] = char(bad[at] ^ 0xA5);
    try {
      decode_jpeg(bad);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 20);
}

/// The place of the frame header's height: FF C0, a length, the depth, then height and width.
std::size_t frame_height(const std::string& file) { return file.find("\xFF\xC0") + 5; }

TEST_F(Jpeg, SizesAreLookedAtBeforeMemoryIsTaken) {
  std::string file = encode_jpeg(smooth_picture(8, 8, 3));
  file.replace(frame_height(file), 4, "\xFF\xDC\xFF\xDC");
  EXPECT_THAT(refusal(file), HasSubstr("the picture has 65500 x 65500 pixels, but must have"));
  file.replace(frame_height(file), 4, "\0\0\0\0"s);
  EXPECT_THAT(refusal(file), HasSubstr("damaged JPEG"));
}

TEST_F(Jpeg, PrintersColoursAreRefused) {
  // The colours of a JPEG are told by the Adobe segment and the count of components: this one says
  // 4, which nothing after it has to follow.
  const std::string frame = "\xFF\xC0\x00\x14\x08\x00\x08\x00\x08\x04"s +
                            "\x01\x11\x00\x02\x11\x00\x03\x11\x00\x04\x11\x00"s;
  const std::string scan = "\xFF\xDA\x00\x0E\x04\x01\x00\x02\x00\x03\x00\x04\x00\x00\x3F\x00"s;
  EXPECT_THAT(refusal("\xFF\xD8"s + frame + scan + "\xFF\xD9"s), HasSubstr("is a JPEG in CMYK"));
}

/// An EXIF segment with one entry, behind the two bytes that begin a JPEG.
std::string with_orientation(const std::string& jpeg, char orientation, bool little) {
  const std::string entry = little
                                ? "\x12\x01\x03\x00\x01\x00\x00\x00"s + orientation + "\0\0\0"s
                                : "\x01\x12\x00\x03\x00\x00\x00\x01\x00"s + orientation + "\0\0"s;
  const std::string tiff = little ? "II*\0\x08\0\0\0\x01\0"s : "MM\0*\0\0\0\x08\0\x01"s;
  const std::string data = "Exif\0\0"s + tiff + entry + "\0\0\0\0"s;
  return jpeg.substr(0, 2) + "\xFF\xE1"s + '\0' + char(data.size() + 2) + data + jpeg.substr(2);
}

TEST_F(Jpeg, PhotosAreTurnedUpright) {
  Picture stored(16, 8, 1);
  stored.at(0, 0)[0] = 255;
  for (int64_t y = 0; y < 8; ++y)  // the left half is white
    for (int64_t x = 0; x < 8; ++x) stored.at(x, y)[0] = 255;
  const std::string file = encode_jpeg(stored);
  EXPECT_EQ(jpeg_orientation(file), 1);
  for (const bool little : {false, true}) {
    EXPECT_EQ(jpeg_orientation(with_orientation(file, 6, little)), 6);
    EXPECT_EQ(jpeg_orientation(with_orientation(file, 9, little)), 1);
    const Picture turned = decode_jpeg(with_orientation(file, 6, little));  // a quarter clockwise
    ASSERT_EQ(turned.width, 8);
    ASSERT_EQ(turned.height, 16);
    EXPECT_GT(turned.at(4, 2)[0], 250);
    EXPECT_LT(turned.at(4, 13)[0], 5);
  }
  const std::string turned = with_orientation(file, 6, true);
  for (std::size_t length = 0; length < turned.size(); ++length)
    jpeg_orientation(turned.substr(0, length));
}

TEST(Orientation, EachIsUndoneByItsInverse) {
  const Picture picture = random_picture(5, 3, 3);
  const std::pair<int, int> inverses[] = {{2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 8}, {7, 7}, {8, 6}};
  for (const auto& [turn, back] : inverses) {
    EXPECT_NE(turn_upright(picture, turn), picture);
    EXPECT_EQ(turn_upright(turn_upright(picture, turn), back), picture) << turn;
  }
  Picture row(2, 1, 1);
  row.pixels = {1, 2};
  EXPECT_EQ(turn_upright(row, 6).pixels, (std::vector<std::uint8_t>{1, 2}));
  EXPECT_EQ(turn_upright(row, 8).pixels, (std::vector<std::uint8_t>{2, 1}));
}

TEST_F(ImageFiles, WhatIsNoPictureIsSaidSo) {
  EXPECT_THAT(refusal(""), HasSubstr("is empty, not a picture"));
  EXPECT_THAT(refusal("GIF89a and so on"), HasSubstr("is neither a PNG nor a JPEG"));
  expect_error(ErrorCode::io, "cannot read " + folder_.string() + ": Is a directory",
               [&] { read_picture(folder_.string()); });
  expect_error(ErrorCode::io, "cannot read " + path("gone.png") + ": No such file or directory",
               [&] { read_picture(path("gone.png")); });
  for (const char* name : {"a", "a.gif", "png", ".png/a", ""})
    EXPECT_THAT(sentence_of([&] { check_writable(name); }),
                HasSubstr("but must end in .png, .jpg or .jpeg"));
}

TEST(Shrink, AveragesAreasByTheirAlpha) {
  Picture picture(4, 2, 2);
  picture.pixels = {100, 255, 0, 0, 10, 255, 20, 255, 100, 255, 0, 0, 30, 255, 40, 255};
  const Picture small = shrink(picture, 2);
  ASSERT_EQ(small.width, 2);
  ASSERT_EQ(small.height, 1);
  EXPECT_THAT(small.pixels, testing::ElementsAre(100, 128, 25, 255));
  EXPECT_EQ(shrink(picture, 4), picture);
  Picture odd(3, 1, 1);
  odd.pixels = {0, 90, 240};
  EXPECT_THAT(shrink(odd, 2).pixels, testing::ElementsAre(30, 190));
}

// ---- filters

/// The convolution as its definition says it, edges repeated, in double.
double plain_sum(const Planes& x, const Weights& w, int64_t k, int64_t i, int64_t j) {
  double sum = 0;
  const int64_t groups = x.C / w.C, first = k / (w.K / groups) * w.C;
  for (int64_t c = 0; c < w.C; ++c)
    for (int64_t r = 0; r < w.R; ++r)
      for (int64_t s = 0; s < w.S; ++s) {
        const int64_t y = std::clamp<int64_t>(i + r - (w.R - 1) / 2, 0, x.H - 1);
        const int64_t column = std::clamp<int64_t>(j + s - (w.S - 1) / 2, 0, x.W - 1);
        sum += double(x.at(first + c, y, column)) *
               w.values[std::size_t(((k * w.C + c) * w.R + r) * w.S + s)];
      }
  return sum;
}

class Filters : public testing::Test {
 protected:
  Filtered apply(const Picture& picture, const Filter& filter, bool stretch = false) {
    Filtered result = filter_picture(*device_, picture, filter, stretch, {});
    EXPECT_EQ(result.failure, "");
    return result;
  }

  std::unique_ptr<Device> device_ = make_cpu_device({0, {}, false});
};

TEST_F(Filters, EachEqualsPlainSums) {
  const Filter filters[] = {sharpen(), emboss(), gaussian(1.3)};
  for (const int channels : {1, 3}) {
    const Picture picture = random_picture(23, 14, channels);
    const Planes x = colour_planes(picture, picture.colours(), 1);
    for (const Filter& filter : filters) {
      Weights each = filter.weights;  // one kernel for each channel
      each.K = channels;
      for (int c = 1; c < channels; ++c)
        each.values.insert(each.values.end(), filter.weights.values.begin(),
                           filter.weights.values.end());
      const Picture got = apply(picture, filter).picture;
      ASSERT_EQ(got.channels, channels);
      for (int64_t y = 0; y < 14; ++y)
        for (int64_t column = 0; column < 23; ++column)
          for (int c = 0; c < channels; ++c) {
            const double wanted = 255 * std::clamp(plain_sum(x, each, c, y, column), 0.0, 1.0);
            // A value right between two bytes may go to either.
            ASSERT_NEAR(got.at(column, y)[c], wanted, 0.5 + 1e-3);
          }
    }
  }
}

TEST_F(Filters, SobelIsTheSizeOfTheGradientOfLuma) {
  const Picture picture = random_picture(17, 12, 3);
  const Filter filter = sobel();
  const Picture got = apply(picture, filter).picture;
  ASSERT_EQ(got.channels, 1);
  const Planes x = colour_planes(picture, 1, 1);
  for (int64_t y = 0; y < 12; ++y)
    for (int64_t column = 0; column < 17; ++column) {
      const double wanted = std::hypot(plain_sum(x, filter.weights, 0, y, column),
                                       plain_sum(x, filter.weights, 1, y, column));
      ASSERT_NEAR(got.at(column, y)[0], 255 * std::min(1.0, wanted), 0.5 + 1e-3);
    }
}

TEST_F(Filters, AStepFromBlackToWhiteIsWhite) {
  Picture picture(6, 5, 1);
  for (int64_t y = 0; y < 5; ++y)
    for (int64_t x = 3; x < 6; ++x) picture.at(x, y)[0] = 255;
  const Picture edges = apply(picture, sobel()).picture;
  for (int64_t y = 0; y < 5; ++y)
    for (int64_t x = 0; x < 6; ++x)
      EXPECT_EQ(edges.at(x, y)[0], x == 2 || x == 3 ? 255 : 0) << x << "," << y;
}

TEST_F(Filters, AnEvenPictureStaysEvenUpToItsEdges) {
  for (const int channels : {1, 2, 3, 4}) {
    Picture picture(9, 8, channels);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i)
      picture.pixels[i] = std::uint8_t(60 + 40 * (i % std::size_t(channels)));
    for (const Filter& filter : {gaussian(3), sharpen(), emboss()})
      EXPECT_EQ(apply(picture, filter).picture, picture) << channels;
    EXPECT_THAT(apply(picture, sobel()).picture.pixels, testing::Each(0));
  }
}

TEST_F(Filters, HiddenColoursDoNotBleedIntoABlur) {
  Picture picture(12, 12, 4);  // the left half red, the right half transparent green
  for (int64_t y = 0; y < 12; ++y)
    for (int64_t x = 0; x < 12; ++x) {
      const std::uint8_t red[] = {200, 0, 0, 255}, hidden[] = {0, 255, 0, 0};
      std::copy_n(x < 6 ? red : hidden, 4, picture.at(x, y));
    }
  const Picture blurred = apply(picture, gaussian(1)).picture;
  ASSERT_EQ(blurred.channels, 4);
  for (int64_t x = 0; x < 12; ++x) EXPECT_EQ(blurred.at(x, 6)[1], 0) << x;
  EXPECT_EQ(blurred.at(6, 6)[0], 200);
  EXPECT_GT(blurred.at(6, 6)[3], 50);
  EXPECT_LT(blurred.at(6, 6)[3], 128);
  EXPECT_EQ(apply(picture, sobel()).picture.channels, 1);
  const Picture sharp = apply(picture, sharpen()).picture;
  for (int64_t x = 0; x < 12; ++x) EXPECT_EQ(sharp.at(x, 6)[3], x < 6 ? 255 : 0) << x;
  EXPECT_EQ(sharp.at(2, 6)[0], 200);
}

TEST_F(Filters, WeightsOfAFileMixColours) {
  const Picture picture = random_picture(8, 7, 3);
  const Filter swap{{3, 3, 1, 1, {0, 0, 1, 0, 1, 0, 1, 0, 0}}, false};
  const Picture got = apply(picture, swap).picture;
  for (int64_t i = 0; i < 56; ++i) {
    const auto at = std::size_t(3 * i);
    ASSERT_EQ(got.pixels[at], picture.pixels[at + 2]);
    ASSERT_EQ(got.pixels[at + 1], picture.pixels[at + 1]);
  }
  const Filter negative{{1, 1, 1, 1, {-1}}, false};
  const Picture grey = random_picture(8, 7, 1);
  EXPECT_THAT(apply(grey, negative).picture.pixels, testing::Each(0));
  const auto [low, high] = std::minmax_element(grey.pixels.begin(), grey.pixels.end());
  const Picture stretched = apply(grey, negative, true).picture;
  EXPECT_EQ(stretched.pixels[std::size_t(low - grey.pixels.begin())], 255);
  EXPECT_EQ(stretched.pixels[std::size_t(high - grey.pixels.begin())], 0);
}

TEST_F(Filters, PicturesSmallerThanTheKernelAreFiltered) {
  const Picture one = random_picture(1, 1, 3);
  EXPECT_EQ(apply(one, gaussian(5)).picture, one);
  EXPECT_EQ(apply(one, sharpen()).picture, one);
}

TEST(Weights, AreChecked) {
  expect_error(ErrorCode::invalid_argument,
               "the kernel is 257x3, but its sides must be at most 255", [] {
                 Weights{1, 1, 257, 3, {}}.check();
               });
  for (const float bad : {NAN, INFINITY, -2e6F})
    EXPECT_THAT(sentence_of([&] {
                  Weights{1, 1, 1, 1, {bad}}.check();
                }),
                HasSubstr("must be within +-1000000"));
  for (const double bad : {0.0, -1.0, 41.0, double(NAN)})
    EXPECT_THAT(sentence_of([&] { gaussian(bad); }), HasSubstr("must be from 0.1 to 40 pixels"));
}

// ---- the feature maps

TEST(FeatureBank, HasFiltersThatDifferAndIgnoreEvenAreas) {
  const Weights bank = feature_bank();
  ASSERT_EQ(bank.K, 64);
  ASSERT_EQ(bank.C, 3);
  ASSERT_EQ(bank.values.size(), std::size_t(64 * 3 * 7 * 7));
  bank.check();
  const std::size_t one = 3 * 7 * 7;
  int averages = 0;
  for (std::size_t k = 0; k < 64; ++k) {
    const float* w = &bank.values[k * one];
    double sum = 0, size = 0;
    for (std::size_t i = 0; i < one; ++i) sum += w[i], size += std::fabs(w[i]);
    EXPECT_NEAR(size, 1, 1e-5) << k;
    averages += std::fabs(sum) > 1e-5;
    for (std::size_t other = 0; other < k; ++other) {
      double difference = 0, total = 0;  // neither equal nor each other's negative
      for (std::size_t i = 0; i < one; ++i) {
        difference += std::fabs(w[i] - bank.values[other * one + i]);
        total += std::fabs(w[i] + bank.values[other * one + i]);
      }
      EXPECT_GT(std::min(difference, total), 0.02) << k << " and " << other;
    }
  }
  EXPECT_EQ(averages, 2);  // of grey, and of red
}

class Sheet : public Filters {};

TEST_F(Sheet, HasAMapInEachOf64Places) {
  const Filtered sheet = feature_sheet(*device_, demo_picture(), feature_bank(), 40, {});
  ASSERT_EQ(sheet.failure, "");
  EXPECT_EQ(sheet.picture.width, 8 * (40 + kGap) + kGap);
  EXPECT_EQ(sheet.picture.height, 8 * (30 + kGap) + kGap);
  for (int64_t k = 0; k < 64; ++k) {
    int brightest = 0;
    for (int64_t y = 0; y < 30; ++y)
      for (int64_t x = 0; x < 40; ++x) {
        const std::uint8_t* pixel = sheet.picture.at(kGap + k % 8 * 42 + x, kGap + k / 8 * 32 + y);
        brightest = std::max<int>(brightest, *std::max_element(pixel, pixel + 3));
      }
    EXPECT_EQ(brightest, 255) << "map " << k;
  }
}

TEST_F(Sheet, ShowsTheSignAndTheSizeOfAValue) {
  Picture picture(2, 1, 1);
  picture.pixels = {0, 255};
  const Weights both{2, 1, 1, 1, {1, -3}};  // each map by its own largest
  const Picture sheet = feature_sheet(*device_, picture, both, 100, {}).picture;
  ASSERT_EQ(sheet.width, 2 * (2 + kGap) + kGap);
  const auto colour = [&](int64_t x) {
    const std::uint8_t* p = sheet.at(x, kGap);
    return std::array<int, 3>{p[0], p[1], p[2]};
  };
  EXPECT_EQ(colour(kGap), (std::array<int, 3>{0, 0, 0}));
  const auto positive = colour(kGap + 1), negative = colour(kGap + 5);
  EXPECT_EQ(positive[0], 255);
  EXPECT_GT(positive[0], positive[2]);
  EXPECT_EQ(negative[2], 255);
  EXPECT_EQ(negative[0], positive[2]);
}

TEST_F(Sheet, AnyNumberOfMapsFindsItsPlace) {
  const Picture picture = random_picture(10, 10, 3);
  Weights five{5, 3, 1, 1, std::vector<float>(15, 0)};  // all zero: black
  const Picture sheet = feature_sheet(*device_, picture, five, 10, {}).picture;
  EXPECT_EQ(sheet.width, 3 * 12 + 2);
  EXPECT_EQ(sheet.height, 2 * 12 + 2);
  EXPECT_EQ(sheet.at(14, 14)[0], 0);   // the fifth
  EXPECT_EQ(sheet.at(26, 14)[0], 64);  // no sixth
}

TEST_F(Sheet, WhatCannotBeShownIsRefused) {
  const Picture picture = random_picture(10, 10, 3);
  const auto refusal = [&](int64_t K, int64_t C) {
    const Weights w{K, C, 1, 1, std::vector<float>(std::size_t(K * C), 1)};
    return sentence_of([&] { feature_sheet(*device_, picture, w, 10, {}); });
  };
  EXPECT_THAT(refusal(1025, 3), HasSubstr("1025 maps of 3 channels, but must make 1 to 1024"));
  EXPECT_THAT(refusal(4, 2), HasSubstr("4 maps of 2 channels"));
}

// ---- the gate

TEST_F(Filters, AWrongKernelMakesNoPicture) {
  const Picture picture = random_picture(20, 20, 3);
  for (const float written : {0.0F, 0.5F, NAN, INFINITY}) {
    test::WrongDevice wrong(*device_, written);
    const Filtered result = filter_picture(wrong, picture, sharpen(), false, {});
    EXPECT_THAT(result.failure, HasSubstr("by kernel wrong: y[0,0,0,0] is ")) << written;
    EXPECT_TRUE(result.picture.pixels.empty());
    EXPECT_NE(feature_sheet(wrong, picture, feature_bank(), 20, {}).failure, "");
  }
}

TEST(Demo, IsAPictureOfManyColours) {
  const Picture demo = demo_picture();
  EXPECT_EQ(demo.width, 800);
  EXPECT_EQ(demo.height, 600);
  std::vector<bool> seen(1 << 12);
  for (std::size_t i = 0; i < demo.pixels.size(); i += 3)
    seen[std::size_t(demo.pixels[i] >> 4 << 8 | demo.pixels[i + 1] >> 4 << 4 |
                     demo.pixels[i + 2] >> 4)] = true;
  EXPECT_GT(std::count(seen.begin(), seen.end(), true), 300);
}

}  // namespace
}  // namespace metalconv::image
