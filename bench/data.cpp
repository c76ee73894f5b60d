// SPDX-License-Identifier: Apache-2.0
#include "bench/data.h"

#include <fmt/format.h>
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/half.h"

namespace metalconv::bench {
namespace {

using std::int64_t;

constexpr double kWholeCost = 1 << 28;  // multiply-adds; about half a second of oracle on two cores
constexpr double kBorderCost = 1 << 30;

/// A counter-based generator: any element can be drawn alone, so that filling runs in parallel.
/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t hash(std::uint64_t seed, std::uint64_t i) {
  std::uint64_t z = seed * 0x9E3779B97F4A7C15u + i * 0xD1B54A32D192ED03u + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

template <class Value>
std::vector<std::byte> fill(DType dtype, int64_t elements, const Value& value) {
  std::vector<std::byte> bytes(std::size_t(elements) * size_of(dtype));
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, elements, 1 << 16), [&](const auto& range) {
    for (int64_t i = range.begin(); i != range.end(); ++i)
      from_double(dtype, value(i), bytes.data(), i);
  });
  return bytes;
}

/// Integers in [-most, most].
auto integers(std::uint64_t seed, int64_t most, double scale = 1) {
  return [=](int64_t i) {
    return scale *
           double(int64_t(hash(seed, std::uint64_t(i)) % std::uint64_t(2 * most + 1)) - most);
  };
}

/// Uniform in (-1, 1), never 0 so that a dropped term always shows.
auto uniform(std::uint64_t seed) {
  return
      [=](int64_t i) { return (double(hash(seed, std::uint64_t(i)) >> 11) + 0.5) * 0x1p-52 - 1; };
}

/// The largest magnitudes of x and w for which `taps` products and a bias sum exactly in f32.
std::pair<int64_t, int64_t> exact_range(double taps, double weight_scale) {
  const double room = 0x1p24 / weight_scale / (taps + 1);
  const auto w = int64_t(std::clamp(std::sqrt(room / 2), 1.0, 8.0));
  return {int64_t(std::clamp(room / double(w), 1.0, 16.0)), w};
}

struct Shape {
  const ConvProblem& c;
  int64_t P, Q;
  explicit Shape(const ConvProblem& problem) : c(problem), P(problem.P()), Q(problem.Q()) {}

  Point point(int64_t n, int64_t k, int64_t p, int64_t q) const {
    const int64_t offset = c.layout == Layout::nchw ? ((n * c.K + k) * P + p) * Q + q
                                                    : ((n * P + p) * Q + q) * c.K + k;
    return {{n, k, p, q}, offset, {}};
  }
  double taps() const { return double(c.C_per_group()) * double(c.R) * double(c.S); }
};

std::vector<Point> every_output(const Shape& s) {
  std::vector<Point> points;
  points.reserve(std::size_t(s.c.y_elements()));
  for (int64_t n = 0; n < s.c.N; ++n)
    for (int64_t k = 0; k < s.c.K; ++k)
      for (int64_t p = 0; p < s.P; ++p)
        for (int64_t q = 0; q < s.Q; ++q) points.push_back(s.point(n, k, p, q));
  return points;
}

/// The outermost two rows and columns of every channel_step-th channel.
void add_borders(const Shape& s, int64_t channel_step, std::vector<Point>* points) {
  const auto edge = [](int64_t i, int64_t size) { return i < 2 || i >= size - 2; };
  for (int64_t n = 0; n < s.c.N; ++n)
    for (int64_t k = 0; k < s.c.K; k += channel_step)
      for (int64_t p = 0; p < s.P; ++p)
        for (int64_t q = 0; q < s.Q; ++q) {
          if (!edge(p, s.P) && !edge(q, s.Q)) q = s.Q - 2;  // over the interior
          points->push_back(s.point(n, k, p, q));
        }
}

/// One random output in each tile of 8 channels x 8 rows x 16 columns.
void add_tiles(const Shape& s, std::mt19937_64* random, std::vector<Point>* points) {
  const auto within = [&](int64_t start, int64_t step, int64_t size) {
    return start + int64_t((*random)() % std::uint64_t(std::min(step, size - start)));
  };
  for (int64_t n = 0; n < s.c.N; ++n)
    for (int64_t k = 0; k < s.c.K; k += 8)
      for (int64_t p = 0; p < s.P; p += 8)
        for (int64_t q = 0; q < s.Q; q += 16)
          points->push_back(s.point(n, within(k, 8, s.c.K), within(p, 8, s.P), within(q, 16, s.Q)));
}

void add_random(const Shape& s, int count, std::mt19937_64* random, std::vector<Point>* points) {
  const auto below = [&](int64_t size) { return int64_t((*random)() % std::uint64_t(size)); };
  for (int i = 0; i < count; ++i)
    points->push_back(s.point(below(s.c.N), below(s.c.K), below(s.P), below(s.Q)));
}

void choose_points(const ConvProblem& problem, std::uint64_t seed, double effort, Check* check) {
  const Shape s(problem);
  if (problem.y_elements() == 0) {
    check->coverage = "the output is empty";
    return;
  }
  if (double(problem.y_elements()) * s.taps() <= effort * kWholeCost) {
    check->points = every_output(s);
    check->coverage = "every output";
    return;
  }
  std::mt19937_64 random(seed);
  const double border_outputs =
      double(problem.N) * double(problem.K) *
      (double(s.P) * double(s.Q) -
       double(std::max<int64_t>(s.P - 4, 0)) * double(std::max<int64_t>(s.Q - 4, 0)));
  const double cost = border_outputs * s.taps() / (effort * kBorderCost);
  const auto step = int64_t(std::clamp(cost, 1.0, double(problem.K)));
  add_borders(s, step, &check->points);
  add_tiles(s, &random, &check->points);
  add_random(s, 4096, &random, &check->points);
  check->coverage = fmt::format(
      "{}, one output a tile of 8 x 8 x 16 and 4096 random ones: {} of {} outputs",
      step == 1 ? "every border output" : fmt::format("borders of 1 channel in {}", step),
      check->points.size(), problem.y_elements());
}

/// NaN and infinities in the corners and the middle of x.
void plant_specials(const ConvProblem& p, std::vector<std::byte>* x) {
  const int64_t last = p.x_elements() - 1;
  if (last < 0) return;
  from_double(p.dtype, std::numeric_limits<double>::quiet_NaN(), x->data(), last / 2);
  from_double(p.dtype, std::numeric_limits<double>::infinity(), x->data(), 0);
  from_double(p.dtype, -std::numeric_limits<double>::infinity(), x->data(), last);
}

}  // namespace

Data make_data(const ConvProblem& p, DataMode mode, std::uint64_t seed) {
  const int64_t bias_elements = p.bias ? p.K : 0;
  const double taps = double(p.C_per_group()) * double(p.R) * double(p.S);
  if (mode == DataMode::random || mode == DataMode::special) {
    Data data{fill(p.dtype, p.x_elements(), uniform(seed)),
              fill(p.dtype, p.w_elements(), uniform(seed + 1)),
              fill(p.dtype, bias_elements, uniform(seed + 2))};
    if (mode == DataMode::special) plant_specials(p, &data.x);
    return data;
  }
  const double scale = mode == DataMode::scaled ? 576 : 1;
  const auto [x_most, w_most] = exact_range(taps, scale);
  return {fill(p.dtype, p.x_elements(), integers(seed, x_most)),
          fill(p.dtype, p.w_elements(), integers(seed + 1, w_most, scale)),
          fill(p.dtype, bias_elements, integers(seed + 2, x_most))};
}

Check make_check(const ConvProblem& problem, DataMode mode, std::uint64_t seed, double effort) {
  Check check{mode, make_data(problem, mode, seed), {}, {}};
  choose_points(problem, seed, effort, &check);
  const auto by_place = [](const Point& a, const Point& b) { return a.offset < b.offset; };
  if (!std::is_sorted(check.points.begin(), check.points.end(), by_place))
    std::sort(check.points.begin(), check.points.end(), by_place);
  const Reference reference(problem, check.data.x.data(), check.data.w.data(),
                            problem.bias ? check.data.bias.data() : nullptr);
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, check.points.size(), 256),
                    [&](const auto& range) {
                      for (std::size_t i = range.begin(); i != range.end(); ++i) {
                        const auto [n, k, p, q] = check.points[i].nkpq;
                        check.points[i].expected = reference.at(n, k, p, q);
                      }
                    });
  return check;
}

}  // namespace metalconv::bench
