// SPDX-License-Identifier: Apache-2.0
#include "image/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "metalconv/error.h"

namespace metalconv::image {
namespace {

using std::int64_t;
using std::size_t;
using std::numbers::pi;

Filter kernel3x3(std::vector<float> values) { return {{1, 1, 3, 3, std::move(values)}}; }

// ---- the filter bank

constexpr int kBankSide = 7;
/// A value at a place of the kernel, x to the right, y down, 0, 0 in the middle.
using Shape = std::function<double(double x, double y)>;
struct Colour {
  double red, green, blue;
};
constexpr Colour kLuma{1, 1, 1}, kRedGreen{1, -1, 0}, kBlueYellow{-0.5, -0.5, 1};

double bell(double x, double y, double sigma) {
  return std::exp(-(x * x + y * y) / (2 * sigma * sigma));
}

/// Waves under a bell, across `angle`; phase 0 is a bar, a quarter turn an edge.
Shape gabor(double angle, double wavelength, double phase) {
  return [=](double x, double y) {
    const double across = x * std::cos(angle) + y * std::sin(angle);
    return bell(x, y, 0.4 * wavelength) * std::cos(2 * pi * across / wavelength + phase);
  };
}

Shape spot(double sigma) {
  return [=](double x, double y) { return bell(x, y, sigma); };
}

/// A spot less its surroundings, of equal sums.
Shape spot_in_ring(double sigma) {
  return [=](double x, double y) { return bell(x, y, sigma) - bell(x, y, 2 * sigma) / 4; };
}

Shape corner(double x_sign, double y_sign) {
  return [=](double x, double y) {
    return bell(x, y, 2) * (x * x_sign >= 0 && y * y_sign >= 0 ? 1 : 0);
  };
}

Shape grid(double angle, double wavelength) {
  return [=](double x, double y) {
    const double u = x * std::cos(angle) + y * std::sin(angle);
    const double v = y * std::cos(angle) - x * std::sin(angle);
    return bell(x, y, 2) * std::cos(2 * pi * u / wavelength) * std::cos(2 * pi * v / wavelength);
  };
}

class Bank {
 public:
  /// Appends a filter. A balanced one answers 0 to an even grey: where the colour itself does not
  /// cancel, the mean under a bell is taken off.
  void add(const Shape& shape, const Colour& colour, bool balanced = true) {
    constexpr double kMiddle = kBankSide / 2;
    std::vector<double> values;
    double sum = 0, bells = 0;
    const auto each = [&](const auto& body) {
      for (int i = 0; i < kBankSide; ++i)
        for (int j = 0; j < kBankSide; ++j) body(j - kMiddle, i - kMiddle);
    };
    each([&](double x, double y) {
      values.push_back(shape(x, y));
      sum += values.back();
      bells += bell(x, y, 2);
    });
    if (balanced && colour.red + colour.green + colour.blue != 0) {
      size_t at = 0;
      each([&](double x, double y) { values[at++] -= bell(x, y, 2) * sum / bells; });
    }
    append(values, colour);
  }

  Weights take() {
    weights_.R = weights_.S = kBankSide;
    weights_.C = 3;
    weights_.K = int64_t(weights_.values.size()) / (3 * kBankSide * kBankSide);
    return std::move(weights_);
  }

 private:
  void append(const std::vector<double>& values, const Colour& colour) {
    double size = 0;
    for (const double value : values) size += std::fabs(value);
    size *= std::fabs(colour.red) + std::fabs(colour.green) + std::fabs(colour.blue);
    for (const double part : {colour.red, colour.green, colour.blue})
      for (const double value : values) weights_.values.push_back(float(part * value / size));
  }

  Weights weights_;
};

// ---- a picture and its planes

/// One of `wanted` colours of a pixel, 0 to 1.
float colour_of(const std::uint8_t* pixel, const Picture& picture, int wanted, int c) {
  if (picture.colours() == 1) return float(pixel[0]) / 255;
  if (wanted == 3) return float(pixel[c]) / 255;
  return (0.2126F * float(pixel[0]) + 0.7152F * float(pixel[1]) + 0.0722F * float(pixel[2])) / 255;
}

void append_alpha(const Picture& picture, Planes* planes) {
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x)
      planes->values.push_back(float(picture.at(x, y)[picture.colours()]) / 255);
  ++planes->C;
}

Weights for_each_channel(const Weights& kernel, int64_t channels) {
  Weights all = kernel;
  all.K = channels;
  for (int64_t c = 1; c < channels; ++c)
    all.values.insert(all.values.end(), kernel.values.begin(), kernel.values.end());
  return all;
}

Planes magnitude_of(const Planes& y) {
  Planes size(1, y.H, y.W);
  const size_t plane = size.values.size();
  for (size_t i = 0; i < plane; ++i) {
    double sum = 0;
    for (size_t at = i; at < y.values.size(); at += plane)
      sum += double(y.values[at]) * y.values[at];
    size.values[i] = float(std::sqrt(sum));
  }
  return size;
}

/// Their own range becomes 0 to 1; nothing happens to a plain area.
void stretch_range(std::vector<float>::iterator begin, std::vector<float>::iterator end) {
  const auto [low, high] = std::minmax_element(begin, end);
  const float from = *low, range = *high - *low;
  if (!(range > 0)) return;
  std::for_each(begin, end, [&](float& value) { value = (value - from) / range; });
}

/// Cut to black and white, and rounded; what is no number is black.
std::uint8_t byte_of(float value) {
  if (!(value > 0)) return 0;
  return value < 1 ? std::uint8_t(std::lround(value * 255)) : std::uint8_t(255);
}

Picture picture_of(const Planes& planes) {
  Picture picture(planes.W, planes.H, int(planes.C));
  for (int64_t c = 0; c < planes.C; ++c)
    for (int64_t y = 0; y < planes.H; ++y)
      for (int64_t x = 0; x < planes.W; ++x) picture.at(x, y)[c] = byte_of(planes.at(c, y, x));
  return picture;
}

/// Colours as they are without the background that shone through.
void take_off(float background, Planes* planes) {
  const int64_t colours = planes->C - 1;
  for (int64_t y = 0; y < planes->H; ++y)
    for (int64_t x = 0; x < planes->W; ++x) {
      const float alpha = planes->at(colours, y, x);
      for (int64_t c = 0; c < colours; ++c) {
        float& value = planes->at(c, y, x);
        value = alpha > 0 ? (value - (1 - alpha) * background) / alpha : 0;
      }
    }
}

}  // namespace

Filter sobel() {
  return {{2,
           1,
           3,
           3,
           {-.25F, 0, .25F, -.5F, 0, .5F, -.25F, 0, .25F,    // to the right
            -.25F, -.5F, -.25F, 0, 0, 0, .25F, .5F, .25F}},  // down
          false,
          true};
}

Filter gaussian(double sigma) {
  if (!(sigma >= 0.1 && sigma <= 40))
    throw Error(ErrorCode::invalid_argument,
                fmt::format("sigma is {}, but must be from 0.1 to 40 pixels", sigma));
  const auto reach = int64_t(std::ceil(3 * sigma));
  const int64_t side = 2 * reach + 1;
  std::vector<double> values;
  double sum = 0;
  for (int64_t y = -reach; y <= reach; ++y)
    for (int64_t x = -reach; x <= reach; ++x) {
      values.push_back(bell(double(x), double(y), sigma));
      sum += values.back();
    }
  Filter filter{{1, 1, side, side, {}}};
  for (const double value : values) filter.weights.values.push_back(float(value / sum));
  return filter;
}

Filter sharpen() { return kernel3x3({0, -1, 0, -1, 5, -1, 0, -1, 0}); }

Filter emboss() { return kernel3x3({-2, -1, 0, -1, 1, 1, 0, 1, 2}); }

Weights feature_bank() {
  Bank bank;
  for (const double wavelength : {3.0, 6.0})
    for (const double phase : {0.0, pi / 2})
      for (int i = 0; i < 8; ++i) bank.add(gabor(i * pi / 8, wavelength, phase), kLuma);
  for (const Colour& colour : {kRedGreen, kBlueYellow})
    for (int i = 0; i < 8; ++i) bank.add(gabor(i * pi / 8, 6, pi / 2), colour);
  for (const Colour& colour : {kLuma, kRedGreen, kBlueYellow}) {
    bank.add(spot(1.5), colour, false);
    bank.add(spot_in_ring(0.8), colour);
  }
  bank.add(spot(0.6), {1, 0, 0}, false);
  bank.add(spot_in_ring(1.4), kLuma);
  for (const double x : {-1.0, 1.0})
    for (const double y : {-1.0, 1.0}) bank.add(corner(x, y), kLuma);
  for (const double wavelength : {3.0, 6.0})
    for (const double angle : {0.0, pi / 4}) bank.add(grid(angle, wavelength), kLuma);
  return bank.take();
}

Planes colour_planes(const Picture& picture, int colours, float background) {
  Planes planes(colours, picture.height, picture.width);
  for (int64_t y = 0; y < picture.height; ++y)
    for (int64_t x = 0; x < picture.width; ++x) {
      const std::uint8_t* pixel = picture.at(x, y);
      const float alpha = picture.has_alpha() ? float(pixel[picture.colours()]) / 255 : 1;
      for (int c = 0; c < colours; ++c)
        planes.at(c, y, x) =
            colour_of(pixel, picture, colours, c) * alpha + (1 - alpha) * background;
    }
  return planes;
}

Filtered filter_picture(Device& device, const Picture& picture, const Filter& filter, bool stretch,
                        const PlanOptions& options) {
  const Weights& w = filter.weights;
  const bool averages =
      std::all_of(w.values.begin(), w.values.end(), [](float value) { return value >= 0; });
  const bool keeps_alpha = filter.per_channel && picture.has_alpha();
  const float background = keeps_alpha && averages ? 0 : 1;
  Planes x = colour_planes(picture, filter.per_channel ? picture.colours() : int(w.C), background);
  if (keeps_alpha && averages) append_alpha(picture, &x);
  Convolved convolved =
      convolve(device, x, filter.per_channel ? for_each_channel(w, x.C) : w, options);
  Filtered result{{}, std::move(convolved.account), std::move(convolved.failure)};
  if (!result.failure.empty()) return result;

  Planes y = filter.magnitude ? magnitude_of(convolved.y) : std::move(convolved.y);
  if (keeps_alpha) {
    if (!averages) append_alpha(picture, &y);
    take_off(background, &y);
  }
  const int64_t colours = keeps_alpha ? y.C - 1 : y.C;
  if (stretch) stretch_range(y.values.begin(), y.values.begin() + colours * y.H * y.W);
  result.picture = picture_of(y);
  return result;
}

}  // namespace metalconv::image
