// SPDX-License-Identifier: Apache-2.0
// image: a picture filtered, or the feature maps of a convolution of it.
#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/wisdom_file.h"
#include "core/half.h"
#include "image/demo.h"
#include "image/filters.h"
#include "image/picture.h"
#include "image/sheet.h"
#include "metalconv/error.h"

namespace metalconv::cli {
namespace {

using image::Filter;
using image::Picture;
using image::Weights;

constexpr std::int64_t kMaxWeights = std::int64_t(1) << 24;
constexpr double kSigma = 2;
constexpr int kTile = 160;  ///< a sheet of 64 is 1298 pixels wide

[[noreturn]] void fail(const std::string& sentence) {
  throw Error(ErrorCode::invalid_argument, sentence);
}

bool is_npy(const std::string& filter) { return filter.ends_with(".npy"); }

Weights read_weights(NpyFile& file) {
  const Shape& shape = file.header().shape;
  const bool plain = shape.size() == 2;
  if (!plain && shape.size() != 4)
    fail(
        fmt::format("{}: the weights have the shape {}, but must have 2 dimensions, R, S, or 4: "
                    "K, C, R, S",
                    file.path(), shape_text(shape)));
  std::int64_t count = 1;
  for (const std::int64_t size : shape) {
    if (size < 1 || size > kMaxWeights / count)
      fail(fmt::format("{}: the weights have the shape {}, but must be 1 to {} in all", file.path(),
                       shape_text(shape), kMaxWeights));
    count *= size;
  }
  Weights w;
  if (!plain) w.K = shape[0], w.C = shape[1];
  w.R = shape[shape.size() - 2], w.S = shape.back();
  const auto data = file.read();
  for (std::int64_t i = 0; i < count; ++i)
    w.values.push_back(float(to_double(file.header().dtype, data.data(), i)));
  try {
    w.check();
  } catch (const Error& error) {
    fail(fmt::format("{}: {}", file.path(), error.what()));
  }
  return w;
}

/// 2 dimensions: a kernel for each channel by itself. 4: colours are mixed.
Filter read_filter(const std::string& path) {
  NpyFile file(path);
  const bool per_channel = file.header().shape.size() == 2;
  Filter filter{read_weights(file), per_channel};
  const auto is_picture = [](std::int64_t channels) { return channels == 1 || channels == 3; };
  if (!is_picture(filter.weights.K) || !is_picture(filter.weights.C))
    fail(
        fmt::format("{}: the weights are {}, but K and C must be 1 (grey) or 3 (colour); "
                    "--feature-maps shows any K",
                    path, shape_text(file.header().shape)));
  return filter;
}

struct ImageCommand {
  std::string input, output, demo, filter, device = "auto";
  std::optional<double> sigma;
  int tile = kTile;
  bool feature_maps = false, stretch = false;
  CpuOptions cpu;
  WisdomFile wisdom;

  int run() const {
    if (!demo.empty()) return write_demo();
    if (input.empty() || output.empty())
      fail("image needs two pictures, the one to read and the one to write, or --demo FILE");
    if (sigma && filter != "gaussian") fail("--sigma is for --filter gaussian alone");
    image::check_writable(output);
    // What can be wrong is looked at before anything is computed.
    const Filter chosen = feature_maps ? Filter{sheet_weights(), false} : named_filter();
    const Picture picture = image::read_picture(input);
    fmt::print("read {}, {}\n", input, describe(picture));
    const auto opened = open_device(device, cpu);
    const Wisdom known = wisdom.read();
    PlanOptions options;
    options.wisdom = &known;
    options.shipped = wisdom.shipped();
    const image::Filtered result =
        feature_maps ? image::feature_sheet(*opened, picture, chosen.weights, tile, options)
                     : image::filter_picture(*opened, picture, chosen, stretch, options);
    return finish(result);
  }

 private:
  int write_demo() const {
    if (!input.empty()) fail("--demo takes no other picture");
    image::check_writable(demo);
    const Picture picture = image::demo_picture();
    image::write_picture(demo, picture);
    fmt::print("wrote {}, {}\n", demo, describe(picture));
    return 0;
  }

  int finish(const image::Filtered& result) const {
    if (!result.failure.empty()) {
      fmt::print("FAILED {}\n{} is not written\n", result.failure, output);
      return 1;
    }
    fmt::print("{}\n", result.account);
    image::write_picture(output, result.picture);
    fmt::print("wrote {}, {}\n", output, describe(result.picture));
    return 0;
  }

  static std::string describe(const Picture& picture) {
    return fmt::format("{}x{} in {}{}", picture.width, picture.height,
                       picture.colours() == 1 ? "grey" : "colour",
                       picture.has_alpha() ? " with alpha" : "");
  }

  Filter named_filter() const {
    if (filter.empty() || filter == "sobel") return image::sobel();
    if (filter == "gaussian") return image::gaussian(sigma.value_or(kSigma));
    if (filter == "sharpen") return image::sharpen();
    if (filter == "emboss") return image::emboss();
    if (is_npy(filter)) return read_filter(filter);
    fail(
        fmt::format("filter is '{}', but must be one of sobel, gaussian, sharpen, emboss, or the "
                    "name of a .npy file",
                    filter));
  }

  Weights sheet_weights() const {
    if (filter.empty()) return image::feature_bank();
    if (!is_npy(filter))
      fail(fmt::format("filter is '{}', but --feature-maps takes the weights of a .npy file",
                       filter));
    NpyFile file(filter);
    if (file.header().shape.size() != 4)
      fail(fmt::format("{}: the weights have the shape {}, but must have 4 dimensions: K, C, R, S",
                       filter, shape_text(file.header().shape)));
    return read_weights(file);
  }
};

}  // namespace

void add_image_command(CLI::App& app, int* status) {
  auto c = std::make_shared<ImageCommand>();
  CLI::App* command =
      app.add_subcommand("image", "filter a picture, or show the feature maps of a convolution");
  command->add_option("IN", c->input, "picture to read, PNG or JPEG")->type_name("FILE");
  command->add_option("OUT", c->output, "picture to write, .png, .jpg or .jpeg")->type_name("FILE");
  command
      ->add_option("--filter", c->filter,
                   "sobel, gaussian, sharpen, emboss, or weights: R, S for each channel, or "
                   "K, C, R, S (default: sobel)")
      ->type_name("NAME|FILE.npy");
  command->add_option("--sigma", c->sigma,
                      fmt::format("of the gaussian, in pixels (default: {})", kSigma));
  command->add_flag("--stretch", c->stretch,
                    "make the result's own range black to white, instead of cutting it off");
  auto* maps = command->add_flag(
      "--feature-maps", c->feature_maps,
      "write a sheet of all K outputs of the filter (default: 64 edges, bars and spots)");
  command
      ->add_option(
          "--tile", c->tile,
          fmt::format("longer side of a map; the picture is shrunk to it (default: {})", kTile))
      ->check(CLI::Range(8, int(image::kMaxSide)))
      ->needs(maps);
  command->add_option("--demo", c->demo, "write a picture to try filters on")->type_name("FILE");
  command->add_option("--device", c->device, "default: the best one here")->type_name("NAME");
  add_cpu_options(*command, c->cpu);
  c->wisdom.add_to(*command);
  command->footer(fmt::format(
      "Pictures have at most {} million pixels, {} a side. Edges are repeated outward, so that\n"
      "nothing darkens there. Filters with alpha: averages blur it, too; others see the picture\n"
      "on white and keep it. Maps: orange is positive, blue negative, each by its own largest.\n"
      "Exit status: 0, 1 when the device computed wrongly (nothing is written), 2 for bad input.",
      image::kMaxPixels / 1000000, image::kMaxSide));
  command->callback([c, status] { *status = c->run(); });
}

}  // namespace metalconv::cli
