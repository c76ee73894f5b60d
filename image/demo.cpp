// SPDX-License-Identifier: Apache-2.0
#include "image/demo.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace metalconv::image {
namespace {

constexpr double kWidth = 800, kHeight = 600;
constexpr double kShore = 418, kQuay = 500;  ///< rows where the water begins and ends

struct Colour {
  double red, green, blue;
};

Colour mix(Colour a, Colour b, double part) {
  const double t = std::clamp(part, 0.0, 1.0);
  return {a.red + (b.red - a.red) * t, a.green + (b.green - a.green) * t,
          a.blue + (b.blue - a.blue) * t};
}

Colour times(Colour c, double factor) {
  return {c.red * factor, c.green * factor, c.blue * factor};
}

/// 0 to 1, the same for the same lattice point.
double chance(int x, int y) {
  std::uint32_t h = std::uint32_t(x) * 0x9E3779B1U ^ std::uint32_t(y) * 0x85EBCA77U;
  h = (h ^ h >> 15) * 0x2C1B3C6DU;
  h = (h ^ h >> 12) * 0x297A2D39U;
  return double(h ^ h >> 15) / 4294967296.0;
}

/// Chance between lattice points, without kinks.
double smooth_noise(double x, double y) {
  const double left = std::floor(x), top = std::floor(y);
  const auto ease = [](double t) { return t * t * (3 - 2 * t); };
  const double u = ease(x - left), v = ease(y - top);
  const int i = int(left), j = int(top);
  const double above = chance(i, j) + (chance(i + 1, j) - chance(i, j)) * u;
  const double below = chance(i, j + 1) + (chance(i + 1, j + 1) - chance(i, j + 1)) * u;
  return above + (below - above) * v;
}

/// Noise of several sizes, 0 to 1.
double texture(double x, double y, int octaves) {
  double sum = 0, weight = 0.5;
  for (int i = 0; i < octaves; ++i, weight /= 2, x *= 2, y *= 2)
    sum += weight * smooth_noise(x + 17 * i, y + 31 * i);
  return sum;
}

Colour sky(double x, double y) {
  const Colour air = mix({52, 104, 188}, {252, 208, 160}, y / 330);
  const double cloud = (texture(x / 130, y / 42, 5) - 0.5) * 5;
  const double sun = std::hypot(x - 560, y - 206);
  if (sun < 34) return {255, 246, 214};
  const Colour lit = mix(air, {255, 250, 242}, cloud * 0.8);
  return mix(lit, {255, 226, 160}, 0.8 * std::exp(-(sun - 34) / 40));
}

Colour far_mountains(double x, double y, double ridge) {
  const double rock = texture(x / 14 + y / 30, y / 9, 4);
  const Colour stone = times({104, 112, 150}, 0.7 + 0.7 * rock);
  const double snow = (ridge + 34 + 26 * smooth_noise(x / 9, 3) - y) / 6;
  return mix(stone, {242, 244, 252}, snow);
}

Colour near_hills(double x, double y) {
  const double leaves = texture(x / 5, y / 4, 3);
  return mix({28, 66, 30}, {150, 172, 66}, leaves * 1.3 - 0.15);
}

bool in_tower(double x, double y) {
  const bool roof = y > 150 && y < 212 && std::fabs(x - 690) < (y - 150) * 0.8;
  return roof || (y >= 212 && std::fabs(x - 690) < 40);
}

Colour tower(double x, double y) {
  if (y < 212) return std::fmod(y, 8) < 1.5 ? Colour{96, 28, 24} : Colour{178, 54, 42};
  const bool window_column = std::fabs(x - 672) < 9 || std::fabs(x - 708) < 9;
  if (window_column && std::fmod(y - 228, 52) < 28 && y > 228)
    return std::fabs(std::fmod(y - 228, 52) - 14) < 1.2 ? Colour{226, 220, 200}
                                                        : Colour{30, 42, 66};
  const int course = int(y / 9);
  const double along = x + (course % 2) * 9;
  const bool mortar = std::fmod(y, 9) < 1.6 || std::fmod(along, 18) < 1.6;
  const Colour brick = times({196, 124, 86}, 0.75 + 0.4 * chance(int(along / 18), course));
  const double shade = 1.08 - 0.35 * (x - 650) / 80;
  return times(mortar ? Colour{214, 202, 184} : brick, shade);
}

/// The envelope narrows downward; the ropes and the basket hang under it.
bool in_balloon(double x, double y) {
  const double dx = (x - 236) / 92, dy = (y - 160) / (y < 160 ? 96 : 124);
  return dx * dx + dy * dy < 1;
}

Colour balloon(double x, double y) {
  const double dy = (y - 160) / (y < 160 ? 96 : 124);
  const double across = (x - 236) / (92 * std::sqrt(std::max(1e-6, 1 - dy * dy)));
  const double turn = std::asin(std::clamp(across, -1.0, 1.0));
  static constexpr Colour kStripes[] = {
      {214, 40, 40}, {248, 212, 60}, {34, 104, 196}, {244, 240, 228}, {34, 150, 84}};
  const auto stripe = std::size_t(std::floor((turn + 1.6) / 0.32));
  const Colour cloth = std::fabs(y - 172) < 9 ? Colour{60, 30, 90} : kStripes[stripe % 5];
  const double light = 0.62 + 0.5 * std::cos(turn - 0.5) * std::sqrt(std::max(0.0, 1 - dy * dy));
  return times(cloth, light);
}

bool in_basket(double x, double y) { return std::fabs(x - 236) < 15 && std::fabs(y - 322) < 12; }

bool on_rope(double x, double y) {
  return y > 262 && y < 312 && std::fabs(std::fabs(x - 236) - (14 + (312 - y) * 0.56)) < 0.9;
}

Colour above_water(double x, double y) {
  if (in_balloon(x, y)) return balloon(x, y);
  if (in_basket(x, y))
    return (int(x / 4) + int(y / 4)) % 2 ? Colour{120, 76, 36} : Colour{164, 112, 58};
  if (on_rope(x, y)) return {60, 48, 36};
  if (in_tower(x, y)) return tower(x, y);
  const double hills = 392 - 80 * texture(x / 210 + 9, 5, 3);
  if (y > hills) return near_hills(x, y);
  const double ridge = 330 - 190 * texture(x / 190 + 40, 2, 6);
  return y > ridge ? far_mountains(x, y, ridge) : sky(x, y);
}

/// The scene upside down, moved by waves that grow towards the viewer.
Colour water(double x, double y) {
  const double depth = (y - kShore) / (kQuay - kShore);
  const double wave = std::sin(y * (2.4 - 1.6 * depth) + 5 * smooth_noise(x / 60, y / 7));
  const double mirrored = kShore - (y - kShore) * 3.2;
  const Colour seen = above_water(x + wave * (1 + 7 * depth), mirrored);
  return times(mix(seen, {22, 62, 96}, 0.32 + 0.25 * depth), 0.9 + 0.1 * wave);
}

Colour quay(double x, double y) {
  const double distance = 3600 / (y - kQuay + 22);
  const double across = (x - kWidth / 2) * distance / 3600;
  const bool dark =
      (int(std::floor(across * 0.9 + 100)) + int(std::floor(distance / 4.5))) % 2 == 0;
  const Colour stone = dark ? Colour{44, 44, 52} : Colour{226, 218, 200};
  return times(stone, 0.86 + 0.28 * texture(x / 3, y / 3, 3));
}

Colour scene(double x, double y) {
  if (y < kShore) return above_water(x, y);
  if (y < kQuay) return water(x, y);
  return y < kQuay + 4 ? Colour{126, 122, 116} : quay(x, y);
}

std::uint8_t byte_of(double value) {
  return std::uint8_t(std::lround(std::clamp(value, 0.0, 255.0)));
}

}  // namespace

Picture demo_picture() {
  constexpr int kSamples = 3;  // a side of a pixel, against stairs on edges
  Picture picture(int(kWidth), int(kHeight), 3);
  for (int y = 0; y < int(kHeight); ++y)
    for (int x = 0; x < int(kWidth); ++x) {
      Colour sum{0, 0, 0};
      for (int i = 0; i < kSamples * kSamples; ++i) {
        const Colour c =
            scene(x + (i % kSamples + 0.5) / kSamples, y + (i / kSamples + 0.5) / kSamples);
        sum = {sum.red + c.red, sum.green + c.green, sum.blue + c.blue};
      }
      const Colour mean = times(sum, 1.0 / (kSamples * kSamples));
      std::uint8_t* pixel = picture.at(x, y);
      pixel[0] = byte_of(mean.red), pixel[1] = byte_of(mean.green), pixel[2] = byte_of(mean.blue);
    }
  return picture;
}

}  // namespace metalconv::image
