// SPDX-License-Identifier: Apache-2.0
// Hopper's own kernels as far as a machine without one can tell: which problems they take, tiles
// that cover the outputs and fit, and texts that NVRTC compiles. Their results are checked where
// there is a Hopper, by `metalconv verify`.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "bench/workloads.h"
#include "conv_cases.h"
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

std::vector<ConvProblem> problems() {
  std::vector<ConvProblem> all;
  const auto add = [&](const ConvProblem& p) {
    for (const ConvProblem& q : in_every_type(p)) all.push_back(q);
  };
  for (const char* name : {"gpu-classes", "resnet50", "mobilenet-v2"})
    for (const bench::Case& c : bench::find_workload(name)->cases) add(c.problem);
  for (const ConvProblem& p : covering_problems()) add(p);
  for (const ConvProblem& p : nasty_problems()) add(p);
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

// One of those that differ in tile, epilogue and number of stages alone, and the roofs. Compiling
// takes long.
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
    const std::string loops = recipe.macros.at("KIND") + recipe.macros.at("HALO");
    if (p.dtype != DType::bf16 && seen.insert(loops).second)
      check(to_text(p), hopper::source(recipe), hopper::macros(recipe, p));
  }
  EXPECT_GE(seen.size(), 5u);
  check("roof", hopper::roof_source(hopper::Kind::bf16), {{"KIND", "1"}, {"COLUMNS", "256"}});
}

}  // namespace
}  // namespace metalconv::test
