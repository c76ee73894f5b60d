// SPDX-License-Identifier: Apache-2.0
// Hopper's own kernels as far as a machine without one can tell: which problems they take, tiles
// that cover the outputs and fit, and texts that NVRTC compiles. Their results are checked where
// there is a Hopper, by `metalconv verify`.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "bench/workloads.h"
#include "conv_cases.h"
#include "cuda/hopper/few.h"
#include "cuda/hopper/rows.h"
#include "cuda/hopper/tiles.h"
#include "nvrtc.h"

namespace metalconv::test {
namespace {

namespace hopper = cuda::hopper;
using std::int64_t;
using testing::HasSubstr;

constexpr std::uint32_t kMultiprocessors = 132;

std::vector<ConvProblem> in_every_type(ConvProblem p) {
  p.layout = Layout::nhwc;
  std::vector<ConvProblem> all;
  for (const auto& [dtype, precision] : {std::pair(DType::f16, Precision::ieee),
                                         {DType::bf16, Precision::ieee},
                                         {DType::f32, Precision::tf32},
                                         {DType::f32, Precision::ieee}}) {
    p.dtype = dtype, p.precision = precision;
    if (hopper::refusal(p).empty()) all.push_back(p);
  }
  return all;
}

std::vector<ConvProblem> problems_of_any_type() {
  std::vector<ConvProblem> all;
  for (const char* name : {"gpu-classes", "resnet50", "mobilenet-v2"})
    for (const bench::Case& c : bench::find_workload(name)->cases) all.push_back(c.problem);
  for (const ConvProblem& p : covering_problems()) all.push_back(p);
  for (const ConvProblem& p : nasty_problems()) all.push_back(p);
  return all;
}

std::vector<ConvProblem> problems() {
  std::vector<ConvProblem> all;
  for (const ConvProblem& p : problems_of_any_type())
    for (const ConvProblem& q : in_every_type(p)) all.push_back(q);
  return all;
}

int64_t macro(const hopper::Recipe& recipe, const char* name) {
  return std::stoll(recipe.macros.at(name));
}

TEST(Hopper, SaysWhatItDoesNotDo) {
  const auto refusal = [](const char* text) { return hopper::refusal(parse_problem(text)); };
  EXPECT_EQ(refusal("1x8x5x5,k3,3x3,p1,f16,nhwc"), "");
  EXPECT_EQ(refusal("1x12x5x5,k3,3x3,p1,tf32,nhwc"), "");
  EXPECT_THAT(refusal("1x12x5x5,k3,3x3,p1,f16,nhwc"),
              HasSubstr("C/groups is 12, but must be a multiple of 8"));
  EXPECT_THAT(refusal("1x3x5x5,k3,3x3,p1,nhwc"), HasSubstr("C/groups is 3"));
  EXPECT_THAT(refusal("1x16x5x5,k16,3x3,p1,g16,bf16,nhwc"), HasSubstr("C/groups is 1"));
  EXPECT_THAT(refusal("1x8x40x40,k8,16x3,f16,nhwc"), HasSubstr("the kernel is 16 x 3"));
  EXPECT_THAT(refusal("64x512x256x256,k8,3x3,f16,nhwc"), HasSubstr("31 bits"));
}

TEST(Hopper, TilesCoverTheOutputsAndFit) {
  const auto all = problems();
  EXPECT_GT(all.size(), 100u);
  for (const ConvProblem& p : all) {
    SCOPED_TRACE(to_text(p));
    const hopper::Recipe r = hopper::recipe(p, kMultiprocessors);
    const HopperParams& q = r.params;
    const int64_t rows = 64 * macro(r, "ROW_BLOCKS") * macro(r, "CONSUMERS");
    const int64_t blocks = macro(r, "BLOCKS");
    EXPECT_LE((int64_t(r.shared_bytes) + 1024 + 256) * blocks, 233472);
    EXPECT_GE(macro(r, "STAGES"), 3);
    EXPECT_GE(int64_t(q.blocks) * macro(r, "COLUMNS"), p.K_per_group());
    EXPECT_EQ(q.items, int64_t(q.tiles) * q.blocks * q.groups * q.splits);
    EXPECT_LE(r.groups, kMultiprocessors * blocks);
    EXPECT_LE(q.splits, q.steps);
    EXPECT_EQ(macro(r, "PARTIAL"), q.splits > 1);
    const int64_t row_bytes = 32 * macro(r, "K_STEPS");
    const int64_t channel_bytes = p.C_per_group() * (p.dtype == DType::f32 ? 4 : 2);
    if (macro(r, "HALO") == 0) {
      EXPECT_GE(q.tiles * rows, p.N * p.P() * p.Q());
      EXPECT_GE(q.steps * row_bytes, channel_bytes * p.R * p.S);
      continue;
    }
    EXPECT_EQ(q.steps * row_bytes, channel_bytes);
    EXPECT_LE(q.halo_rows * 128, q.x_bytes);
    if (q.lines) {
      EXPECT_GE(q.tiles * rows, p.N * q.cover_h * q.cover_w);
      EXPECT_GE(q.cover_h, std::max(p.P(), p.H + p.pad_top));
      EXPECT_GE(q.cover_w, std::max(p.Q(), p.W + p.pad_left));
      // The last tap of the last row.
      EXPECT_EQ(q.halo_rows - 1,
                rows - 1 + (p.R - 1) * p.dilation_h * q.cover_w + (p.S - 1) * p.dilation_w);
    } else {
      EXPECT_EQ(q.tile_h % 8, 0);
      EXPECT_EQ(q.tile_w % 8, 0);
      EXPECT_EQ(q.tile_h * q.tile_w, rows);
      EXPECT_GE(q.cover_h * q.tile_h, p.P());
      EXPECT_GE(q.cover_w * q.tile_w, p.Q());
      EXPECT_EQ(q.tiles, p.N * q.cover_h * q.cover_w);
      EXPECT_EQ(q.halo_rows, (q.tile_h + (p.R - 1) * p.dilation_h) * q.pitch);
    }
  }
}

std::vector<ConvProblem> few_problems() {
  std::vector<ConvProblem> all;
  for (ConvProblem p : problems_of_any_type()) {
    p.layout = Layout::nhwc, p.precision = Precision::ieee;
    for (const DType dtype : {DType::f16, DType::bf16}) {
      p.dtype = dtype;
      if (hopper::few_refusal(p).empty()) all.push_back(p);
    }
  }
  return all;
}

TEST(HopperFew, SaysWhatItDoesNotDo) {
  const auto refusal = [](const char* text) { return hopper::few_refusal(parse_problem(text)); };
  EXPECT_EQ(refusal("1x3x50x50,k64,7x7,s2,p3,f16,nhwc"), "");
  EXPECT_EQ(refusal("1x2x5x5,k3,1x1,s1000000,d1000000,f16,nhwc"), "");
  EXPECT_THAT(refusal("1x8x5x5,k3,3x3,f16,nhwc"), HasSubstr("C is 8 in 1 groups"));
  EXPECT_THAT(refusal("1x4x5x5,k4,3x3,g2,f16,nhwc"), HasSubstr("C is 4 in 2 groups"));
  EXPECT_THAT(refusal("1x3x9x9,k3,3x3,d1x2,f16,nhwc"), HasSubstr("dilation_w is 2"));
  EXPECT_THAT(refusal("1x7x40x40,k8,15x15,f16,nhwc"), HasSubstr("steps of 16"));
  EXPECT_THAT(refusal("1x3x9000x9000,k8,3x3,s4000,f16,nhwc"), HasSubstr("shared memory"));
  EXPECT_THAT(refusal("64x3x4096x4096,k8,3x3,f16,nhwc"), HasSubstr("31 bits"));
}

TEST(HopperFew, TilesCoverTheOutputsAndFit) {
  const auto all = few_problems();
  EXPECT_GT(all.size(), 30u);
  for (const ConvProblem& p : all) {
    SCOPED_TRACE(to_text(p));
    const hopper::Recipe r = hopper::few_recipe(p, kMultiprocessors);
    const HopperParams& q = r.params;
    EXPECT_GE(q.cover_h * macro(r, "WARPS"), p.P());
    EXPECT_GE(q.cover_w * 16 * macro(r, "ROW_TILES"), p.Q());
    EXPECT_GE(q.blocks * macro(r, "COLUMNS"), p.K);
    EXPECT_EQ(q.tiles, p.N * q.cover_h * q.cover_w);
    EXPECT_EQ(r.groups % std::max(q.blocks, 1), 0u);  // a thread block keeps its channels
    EXPECT_EQ(r.groups == 0, q.tiles == 0 || q.blocks == 0);
    EXPECT_LE(r.shared_bytes, 100u << 10);
    EXPECT_GE(r.packed_bytes, q.blocks * macro(r, "COLUMNS") * p.R * p.S * p.C * 2);
    EXPECT_GE(int64_t(r.shared_bytes) * q.blocks, r.packed_bytes);
  }
}

// One of those that differ in tile, epilogue and number of stages alone, and the roofs; every tile
// where METALCONV_TEST_ALL is set, as by ./test --all. Compiling takes long.
TEST(Hopper, CompilesWithoutLocalMemory) {
  if (kSanitized) GTEST_SKIP() << "other compilers' work: the release build has it done";
  const Nvrtc nvrtc;
  if (!nvrtc.found()) GTEST_SKIP() << "no NVRTC";
  const auto check = [&](const std::string& what, const gpu::Source& source,
                         const gpu::Macros& macros) {
    std::vector<std::string> options{"--gpu-architecture=sm_90a"};
    for (const auto& [name, value] : macros) options.push_back("-D" + name + "=" + value);
    const auto result = nvrtc.compile(source.text, options);
    ASSERT_TRUE(result.ok) << what << "\n" << result.log;
    EXPECT_EQ(local_memory(result.log), "") << what << "\n" << result.log;
    // What ptxas says when it cannot let products overlap.
    EXPECT_EQ(result.log.find("erializ"), std::string::npos) << what << "\n" << result.log;
  };
  std::set<std::string> seen;
  for (const ConvProblem& p : problems()) {
    const hopper::Recipe recipe = hopper::recipe(p, kMultiprocessors);
    std::string loops = recipe.macros.at("KIND") + recipe.macros.at("HALO");
    if (std::getenv("METALCONV_TEST_ALL"))
      for (const char* name : {"COLUMNS", "ROW_BLOCKS", "CONSUMERS", "K_STEPS", "PARTIAL"})
        loops += " " + recipe.macros.at(name);
    if (p.dtype != DType::bf16 && seen.insert(loops).second)
      check(to_text(p), hopper::source(recipe), hopper::macros(recipe, p));
  }
  EXPECT_GE(seen.size(), 5u);
  for (const char* text :
       {"1x3x60x80,k64,3x3,p1,f16,nhwc,bias,relu", "1x3x60x80,k64,3x3,p1,bf16,nhwc,bias,silu",
        "1x3x64x64,k64,11x11,p5,bf16,nhwc", "1x7x40x20,k24,3x3,s2,f16,nhwc,bias,relu"}) {
    const ConvProblem p = parse_problem(text);
    const hopper::Recipe recipe = hopper::few_recipe(p, kMultiprocessors);
    check(text, hopper::source(recipe), hopper::macros(recipe, p));
  }
  check("roof", hopper::roof_source(hopper::Kind::bf16), {{"KIND", "1"}, {"COLUMNS", "256"}});
}

}  // namespace
}  // namespace metalconv::test
