// SPDX-License-Identifier: Apache-2.0
// `image` from picture to picture, and what it says of bad input.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/commands.h"
#include "cli/npy.h"
#include "core/half.h"
#include "image/picture.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

namespace fs = std::filesystem;
using image::Picture;
using image::read_picture;
using testing::HasSubstr;

class ImageCommand : public testing::Test {
 protected:
  ImageCommand()
      : folder_(testing::TempDir() + "metalconv_image_command_" + std::to_string(getpid())) {
    fs::create_directories(folder_);
  }
  ~ImageCommand() override { fs::remove_all(folder_); }
  void SetUp() override {
    if (image::png_library().empty()) GTEST_SKIP() << "this build has no libpng";
    Picture photo(30, 20, 3);
    for (std::size_t i = 0; i < photo.pixels.size(); ++i) photo.pixels[i] = std::uint8_t(i * i / 7);
    image::write_picture(path("photo.png"), photo);
    photo_ = photo;
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// The exit status of `image` with these words, on the cpu; "PHOTO" and "OUT" are files.
  int run(std::string words) {
    const auto replace = [&](const std::string& word, const std::string& file) {
      if (const auto at = words.find(word); at != std::string::npos)
        words.replace(at, word.size(), file);
    };
    replace("PHOTO", path("photo.png"));
    replace("OUT", path("out.png"));
    CLI::App app;
    int status = 0;
    add_image_command(app, &status);
    app.parse("image " + words + " --device cpu --no-vendor");
    return status;
  }

  std::string refusal(const std::string& words) {
    try {
      run(words);
    } catch (const Error& e) {
      EXPECT_FALSE(fs::exists(path("out.png"))) << "a picture was written";
      return e.what();
    }
    return {};
  }

  std::string write_weights(const Shape& shape, std::vector<float> values,
                            DType dtype = DType::f32) {
    std::vector<std::byte> data(values.size() * size_of(dtype));
    for (std::size_t i = 0; i < values.size(); ++i)
      from_double(dtype, values[i], data.data(), std::int64_t(i));
    write_npy(path("w.npy"), dtype, shape, data);
    return path("w.npy");
  }

  fs::path folder_;
  Picture photo_;
};

TEST_F(ImageCommand, SobelIsTheDefault) {
  ASSERT_EQ(run("PHOTO OUT"), 0);
  const Picture sobel = read_picture(path("out.png"));
  EXPECT_EQ(sobel.channels, 1);
  EXPECT_EQ(sobel.width, 30);
  EXPECT_EQ(sobel.height, 20);
  ASSERT_EQ(run("PHOTO OUT --filter sobel"), 0);
  EXPECT_EQ(read_picture(path("out.png")), sobel);
}

TEST_F(ImageCommand, ThePictureMayReplaceItself) {
  for (const char* filter : {"gaussian --sigma 0.5", "sharpen", "emboss"}) {
    ASSERT_EQ(run(fmt::format("PHOTO {} --filter {}", path("photo.png"), filter)), 0);
    EXPECT_NE(read_picture(path("photo.png")), photo_);
  }
}

TEST_F(ImageCommand, WeightsComeFromAFileInEitherType) {
  for (const DType dtype : {DType::f32, DType::f16}) {
    const std::string same = write_weights({1, 1}, {1}, dtype);
    ASSERT_EQ(run("PHOTO OUT --filter " + same), 0);
    EXPECT_EQ(read_picture(path("out.png")), photo_);
    const std::string red = write_weights({1, 3, 1, 1}, {1, 0, 0}, dtype);
    ASSERT_EQ(run("PHOTO OUT --filter " + red), 0);
    const Picture grey = read_picture(path("out.png"));
    ASSERT_EQ(grey.channels, 1);
    for (std::size_t i = 0; i < grey.pixels.size(); ++i)
      ASSERT_EQ(grey.pixels[i], photo_.pixels[3 * i]);
  }
}

TEST_F(ImageCommand, FeatureMapsMakeASheet) {
  ASSERT_EQ(run("PHOTO OUT --feature-maps"), 0);
  EXPECT_EQ(read_picture(path("out.png")).width, 8 * 32 + 2);  // a small photo is not enlarged
  EXPECT_EQ(read_picture(path("out.png")).height, 8 * 22 + 2);
  ASSERT_EQ(run("PHOTO OUT --feature-maps --tile 15"), 0);
  EXPECT_EQ(read_picture(path("out.png")).width, 8 * 17 + 2);
  const std::string weights = write_weights({7, 3, 1, 2}, std::vector<float>(42, 1));
  ASSERT_EQ(run("PHOTO OUT --feature-maps --filter " + weights), 0);
  EXPECT_EQ(read_picture(path("out.png")).height, 3 * 22 + 2);
}

TEST_F(ImageCommand, TheDemoCanBeFiltered) {
  ASSERT_EQ(run("--demo OUT"), 0);
  const Picture demo = read_picture(path("out.png"));
  EXPECT_EQ(demo.width, 800);
  EXPECT_EQ(demo.height, 600);
  EXPECT_EQ(run(path("out.png") + " " + path("edges.png")), 0);
}

TEST_F(ImageCommand, WhatDoesNotFitTogetherIsSaid) {
  EXPECT_THAT(refusal("PHOTO"), HasSubstr("image needs two pictures"));
  EXPECT_THAT(refusal("PHOTO OUT --demo a.png"), HasSubstr("--demo takes no other picture"));
  EXPECT_THAT(refusal("PHOTO out.bmp"), HasSubstr("'out.bmp', but must end in .png, .jpg"));
  // Seen before the picture is read.
  EXPECT_THAT(refusal("gone.png nope/out.png"), HasSubstr("cannot write nope/out.png: No such"));
  EXPECT_THAT(refusal("PHOTO OUT --filter blur"),
              HasSubstr("filter is 'blur', but must be one of sobel, gaussian"));
  EXPECT_THAT(refusal("PHOTO OUT --sigma 2"), HasSubstr("--sigma is for --filter gaussian alone"));
  EXPECT_THAT(refusal("PHOTO OUT --filter gaussian --sigma 0"), HasSubstr("sigma is 0, but must"));
  EXPECT_THAT(refusal("PHOTO OUT --feature-maps --filter sobel"),
              HasSubstr("--feature-maps takes the weights of a .npy file"));
  EXPECT_THAT(refusal("PHOTO OUT --filter gone.npy"), HasSubstr("cannot read gone.npy"));
  EXPECT_THAT(refusal(path("gone.png") + " OUT"), HasSubstr("gone.png: No such file"));
  EXPECT_THROW(run("PHOTO OUT --tile 20"), CLI::RequiresError);
  EXPECT_THROW(run("PHOTO OUT --feature-maps --tile 7"), CLI::ValidationError);
}

TEST_F(ImageCommand, WeightsOfAnotherFormAreRefused) {
  const auto refused = [&](const Shape& shape, float value = 1, const std::string& more = {}) {
    std::size_t count = 1;
    for (const auto size : shape) count *= std::size_t(size);
    const std::string file = write_weights(shape, std::vector<float>(count, value));
    return refusal("PHOTO OUT --filter " + file + more);
  };
  EXPECT_THAT(refused({3}), HasSubstr("the shape 3, but must have 2 dimensions, R, S, or 4"));
  EXPECT_THAT(refused({0, 3}), HasSubstr("the shape 0x3, but must be 1 to 16777216 in all"));
  EXPECT_THAT(refused({1, 257}), HasSubstr("the kernel is 1x257, but its sides must be at most"));
  EXPECT_THAT(refused({64, 3, 1, 1}), HasSubstr("K and C must be 1 (grey) or 3 (colour); --feat"));
  EXPECT_THAT(refused({1, 1}, NAN), HasSubstr(".npy: a weight is nan, but must be within"));
  EXPECT_THAT(refused({3, 3}, 1, " --feature-maps"), HasSubstr("must have 4 dimensions"));
  EXPECT_THAT(refused({4, 2, 1, 1}, 1, " --feature-maps"), HasSubstr("4 maps of 2 channels"));
}

}  // namespace
}  // namespace metalconv::cli
