// SPDX-License-Identifier: Apache-2.0
#include "conv_cases.h"

#include <fmt/format.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <unordered_set>

namespace metalconv::test {
namespace {

using std::int64_t;

/// Height x width of a kernel, a stride, a dilation or an image.
struct Pair {
  int64_t h, w;
};

enum class Padding { none, same, uneven, wide };
enum class Groups { one, two, depthwise1, depthwise2, depthwise3 };

constexpr Pair kKernels[] = {{1, 1},   {2, 2}, {3, 3}, {5, 5}, {7, 7},
                             {11, 11}, {3, 2}, {1, 7}, {7, 1}};
constexpr Pair kStrides[] = {{1, 1}, {2, 2}, {3, 3}, {2, 1}, {1, 3}};
constexpr Pair kDilations[] = {{1, 1}, {2, 2}, {3, 3}, {1, 2}};
constexpr Padding kPaddings[] = {Padding::none, Padding::same, Padding::uneven, Padding::wide};
constexpr Groups kGroups[] = {Groups::one, Groups::two, Groups::depthwise1, Groups::depthwise2,
                              Groups::depthwise3};
constexpr int64_t kChannels[] = {1, 3, 7, 16, 17, 33};
constexpr Pair kImages[] = {{1, 1}, {1, 50}, {50, 1}, {13, 17}, {16, 32}, {9, 65}, {33, 7}};
constexpr int64_t kBatches[] = {1, 2, 3};
constexpr Activation kActivations[] = {Activation::none, Activation::relu, Activation::relu6};
constexpr Layout kLayouts[] = {Layout::nchw, Layout::nhwc};

/// One value a factor, as indices into the arrays above.
enum Factor {
  kernel,
  stride,
  dilation,
  padding,
  groups,
  in_channels,
  out_channels,
  image,
  batch,
  bias,
  activation,
  layout,
  kFactors
};
constexpr std::array<std::size_t, kFactors> kSizes = {std::size(kKernels),     std::size(kStrides),
                                                      std::size(kDilations),   std::size(kPaddings),
                                                      std::size(kGroups),      std::size(kChannels),
                                                      std::size(kChannels),    std::size(kImages),
                                                      std::size(kBatches),     2,
                                                      std::size(kActivations), std::size(kLayouts)};
using Choice = std::array<std::size_t, kFactors>;

/// Multiply-adds; more would cost the oracle too long.
constexpr double kMostWork = 1.5e6;

void set_padding(Padding p, ConvProblem* c) {
  const int64_t high = c->dilation_h * (c->R - 1), wide = c->dilation_w * (c->S - 1);
  switch (p) {
    case Padding::none:
      return;
    case Padding::same:
      c->pad_top = c->pad_bottom = high / 2, c->pad_left = c->pad_right = wide / 2;
      return;
    case Padding::uneven:
      c->pad_top = high / 2, c->pad_left = wide, c->pad_bottom = high, c->pad_right = 1;
      return;
    case Padding::wide:
      c->pad_top = high + 1, c->pad_left = wide + 2, c->pad_bottom = high + 3;
      c->pad_right = wide + 1;
  }
}

void set_channels(Groups g, int64_t in, int64_t out, ConvProblem* c) {
  c->groups = g == Groups::one ? 1 : g == Groups::two ? 2 : in;
  c->C = g == Groups::two ? 2 * in : in;
  c->K = g == Groups::one   ? out
         : g == Groups::two ? 2 * out
                            : in * (g == Groups::depthwise1   ? 1
                                    : g == Groups::depthwise2 ? 2
                                                              : 3);
}

ConvProblem make_problem(const Choice& v) {
  ConvProblem c;
  c.N = kBatches[v[batch]];
  c.R = kKernels[v[kernel]].h, c.S = kKernels[v[kernel]].w;
  c.stride_h = kStrides[v[stride]].h, c.stride_w = kStrides[v[stride]].w;
  c.dilation_h = kDilations[v[dilation]].h, c.dilation_w = kDilations[v[dilation]].w;
  set_padding(kPaddings[v[padding]], &c);
  set_channels(kGroups[v[groups]], kChannels[v[in_channels]], kChannels[v[out_channels]], &c);
  c.H = kImages[v[image]].h, c.W = kImages[v[image]].w;
  c.bias = v[bias] == 1;
  c.activation = kActivations[v[activation]];
  c.layout = kLayouts[v[layout]];
  return c;
}

/// The kernel must fit, and the work must be little.
bool usable(const ConvProblem& c) {
  return c.dilation_h * (c.R - 1) < c.H + c.pad_top + c.pad_bottom &&
         c.dilation_w * (c.S - 1) < c.W + c.pad_left + c.pad_right && c.flops() / 2 <= kMostWork;
}

/// Any choice that makes a usable problem.
template <class Draw>
Choice draw_usable(const Draw& draw) {
  Choice v;
  do {
    for (std::size_t f = 0; f < kFactors; ++f) v[f] = draw(f);
  } while (!usable(make_problem(v)));
  return v;
}

/// Sets of values that occur together, each as one number.
class Covered {
 public:
  /// How many sets of two and of three in `v` are new; the two weigh more.
  int gain(const Choice& v) const {
    int count = 0;
    each(v, [&](std::uint64_t set, int weight) { count += sets_.count(set) ? 0 : weight; });
    return count;
  }
  void add(const Choice& v) {
    each(v, [&](std::uint64_t set, int) { sets_.insert(set); });
  }

 private:
  template <class Visit>
  static void each(const Choice& v, const Visit& visit) {
    const auto one = [&](int f) { return std::uint64_t(f) * 16 + v[std::size_t(f)] + 1; };
    for (int a = 0; a < kFactors; ++a)
      for (int b = 0; b < a; ++b) {
        visit(one(a) << 16 | one(b), 20);
        for (int c = 0; c < b; ++c) visit(one(a) << 32 | one(b) << 16 | one(c), 1);
      }
  }
  std::unordered_set<std::uint64_t> sets_;
};

/// Greedy: of some random choices the one that covers most that is new, until none covers much.
std::vector<ConvProblem> cover() {
  constexpr int kCandidates = 60, kLeastGain = 5, kPatience = 4;
  std::mt19937_64 random(1);
  Covered covered;
  std::vector<ConvProblem> problems;
  for (int idle = 0; idle < kPatience;) {
    Choice best{};
    int best_gain = 0;
    for (int i = 0; i < kCandidates; ++i) {
      const Choice v = draw_usable([&](std::size_t f) { return random() % kSizes[f]; });
      if (const int gain = covered.gain(v); gain > best_gain) best = v, best_gain = gain;
    }
    idle = best_gain < kLeastGain ? idle + 1 : 0;
    if (idle > 0) continue;
    covered.add(best);
    problems.push_back(make_problem(best));
  }
  return problems;
}

}  // namespace

const std::vector<ConvProblem>& covering_problems() {
  static const std::vector<ConvProblem> problems = cover();
  return problems;
}

std::vector<std::pair<std::string, int>> factor_counts(const std::vector<ConvProblem>& problems) {
  std::map<std::string, int> counts;
  for (const ConvProblem& c : problems) {
    ++counts[fmt::format("kernel {}x{}", c.R, c.S)];
    ++counts[fmt::format("stride {}x{}", c.stride_h, c.stride_w)];
    ++counts[fmt::format("dilation {}x{}", c.dilation_h, c.dilation_w)];
    ++counts[fmt::format("image {}x{}", c.H, c.W)];
    ++counts[fmt::format("{} input channels a group", c.C_per_group())];
    ++counts[fmt::format("{} output channels a group", c.K_per_group())];
    ++counts[fmt::format("batch {}", c.N)];
    ++counts[c.bias ? "bias" : "no bias"];
    ++counts[fmt::format("activation {}", to_string(c.activation))];
    ++counts[fmt::format("layout {}", to_string(c.layout))];
    ++counts[c.groups == 1 ? "one group" : c.groups == c.C ? "depthwise" : "groups"];
    ++counts[c.pad_left == c.pad_right && c.pad_top == c.pad_bottom ? "even padding"
                                                                    : "uneven padding"];
    if (c.pad_top > c.dilation_h * (c.R - 1)) ++counts["padding beyond the kernel"];
  }
  return {counts.begin(), counts.end()};
}

std::vector<ConvProblem> problems_for(const KernelRow& row, Layout order, std::size_t count) {
  constexpr int kDraws = 4000;
  // 3x3, stride 1, dilation 1, same padding, one group; any size.
  constexpr std::pair<Factor, std::size_t> kCommon[] = {
      {kernel, 2}, {stride, 0}, {dilation, 0}, {padding, 1}, {groups, 0}};
  std::mt19937_64 random(2);
  std::vector<ConvProblem> problems;
  for (int i = 0; i < kDraws && problems.size() < count; ++i) {
    ConvProblem p = make_problem(draw_usable([&](std::size_t f) {
      for (const auto& [factor, value] : kCommon)
        if (factor == f && random() % 2 == 0) return value;
      return random() % kSizes[f];
    }));
    p.layout = order;
    p.H += int64_t(random() % 9), p.W += int64_t(random() % 70);
    const bool known = std::find(problems.begin(), problems.end(), p) != problems.end();
    if (!known && usable(p) && row.refusal(p).empty()) problems.push_back(p);
  }
  return problems;
}

std::vector<ConvProblem> nasty_problems() {
  std::vector<std::string> texts{
      "0x3x8x8,k4,3x3,p1",                        // an empty batch
      "1x1x181x181,k1,182x182,p1",                // larger than the input, fits its padding
      "1x2x3x3,k4,7x7,p3",                        //
      "1x3x5x5,k4,1x1,p1,bias",                   // a border of nothing but bias
      "1x3x4x4,k5,3x3,p5x4x3x6,bias,relu",        //
      "1x3x6x6,k4,3x3,p7x0x0x0",                  // one side only
      "1x3x6x6,k4,3x3,p0x0x0x7",                  //
      "1x3x9x9,k4,2x2,s5",                        // a stride beyond the kernel
      "1x3x7x7,k4,3x3,s11",                       // beyond the input
      "1x4x10x11,k3,1x1,s3x2",                    // rows that no output reads
      "1x2x5x5,k3,3x2,s2,p1",                     //
      "2x3x8x8,k5,3x3,s9223372036854775807",      // one position
      "1x2x1x33000,k2,1x3,p0x1",                  // lines beyond 2^15 and 2^16
      "1x1x1x66000,k3,1x5",                       //
      "1x1x66000x1,k2,5x1,p2x0",                  //
      "1x128x1x40,k3,1x9",                        // more than 1024 taps a row
      "1x12x9x9,k5,7x7,p3",                       // 588 taps
      "1x1024x3x3,k2,3x3",                        // 9216 taps
      "1x2048x2x2,k3,1x1,bias",                   //
      "1x5x9x12,k10,3x3,p2,d2,g5",                // depthwise with multiplier
      "2x6x31x20,k18,8x8,s3,p3,g6",               //
      "1x48x12x11,k48,3x3,s2,p1,g48,bias,relu6",  //
      "1x6x8x8,k4,3x3,g2",                        // groups, fewer outputs than inputs
      "1x4x8x8,k12,3x3,p1,g4,bias",               //
      "1x40x6x7,k20,3x3,p1,g20",                  // two inputs, one output a group
      "1x1x2x2,k66000,1x1,bias",                  // more channels than a grid is wide
      "66000x1x2x1,k1,1x1",                       // more samples than a grid is high
      "1x2x7x7,k3,3x3,p9,d9",                     // taps that jump over the image
      "1x2x5x5,k3,3x3,p100,d100",                 //
      "1x3x3x200,k4,1x2,d1x150",                  //
      "1x16x5x3000,k8,3x3,p1",                    // rows that are cut
      "1x16x7x6001,k5,3x3,s2x3,p1x2,bias",        //
      "1x64x3x1500,k9,3x3,s1x2,p1",               //
      "1x8x4x9000,k4,5x5,s1x2,p2,d1x2,relu",      //
      "1x16x3x20000,k4,1x7,s3x2,p1x3,g2",         //
      "1x6x4x30001,k6,3x3,s1x2,p1,g6,bias",       //
      "1x3x70x9,k4,3x3,p1",                       // many bands
      "5x1x1x1,k1,1x1",                           //
  };
  // Next to vectors and tiles, along columns and along output channels.
  for (int q : {2, 4, 5, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97, 129, 255, 257})
    texts.push_back(fmt::format("1x3x4x{},k5,3x3,p1,bias", q));
  for (int k : {2, 4, 5, 6, 8, 9, 15, 31, 32, 47, 48, 49, 63, 64, 65, 128, 129})
    texts.push_back(fmt::format("1x3x4x19,k{},3x3,p1,bias", k));
  for (int c : {2, 4, 5, 8, 9, 15, 18, 31, 32, 64, 65})
    texts.push_back(fmt::format("1x{0}x5x6,k{0},3x3,p1,g{0},bias", c));
  // Depthwise rows that are read in place, with borders on every side.
  for (int r : {3, 5, 7})
    for (int stride : {1, 2})
      for (int w : {7, 16, 18, 33, 57})
        texts.push_back(fmt::format("1x3x11x{0},k6,{1}x{1},s{2},p{3}x{3}x{4}x{4},g3,bias", w, r,
                                    stride, r / 2, r / 2 + 1));
  std::vector<ConvProblem> problems;
  for (const std::string& text : texts)
    for (const char* order : {"nchw", "nhwc"})
      problems.push_back(parse_problem(text + "," + order));
  return problems;
}

Device& cpu_device(const std::string& isa, int threads, std::size_t last_level_cache) {
  // As many as the tests ask for, also where there are fewer cores: oneTBB would refuse, and say
  // so.
  static const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 8);
  static std::map<std::tuple<std::string, int, std::size_t>, std::unique_ptr<Device>> devices;
  auto& device = devices[{isa, threads, last_level_cache}];
  if (!device) device = make_cpu_device({threads, isa, false, last_level_cache});
  return *device;
}

std::string cpu_flags(const std::string& isa, int threads) {
  return fmt::format(" --threads {} --isa {}", threads, isa);
}

std::vector<const KernelRow*> our_rows(const Device& device) {
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : device.registry().rows())
    if (row.implementation != Implementation::vendor) rows.push_back(&row);
  return rows;
}

}  // namespace metalconv::test
