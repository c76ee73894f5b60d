// SPDX-License-Identifier: Apache-2.0
// Estimates for Apple's GPUs, which are arithmetic on published figures: no device.
#include "metal/chips.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gpu/conv.h"

namespace metalconv::metal {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(AppleChips, HaveTheirPublishedRates) {
  const ChipRates pro = chip_rates("Apple M1 Pro", 16);
  EXPECT_NEAR(pro.rates.flops, 5.31e12, 0.01e12);
  EXPECT_NEAR(pro.rates.bytes, 0.86 * 200e9, 1e6);
  EXPECT_EQ(pro.basis,
            "5.31 TFLOP/s and 172 GB/s, published figures of Apple M1 Pro with 16 cores, "
            "unmeasured");
  EXPECT_NEAR(chip_rates("Apple M1 Pro", 14).rates.flops, 4.64e12, 0.01e12) << "fewer cores";
  EXPECT_NEAR(chip_rates("Apple M4", 10).rates.flops, 3.67e12, 0.01e12);
  EXPECT_NEAR(chip_rates("Apple M1", 0).rates.flops, 2.62e12, 0.01e12) << "cores are not known";
}

TEST(AppleChips, OfOneNameDifferByCores) {
  const auto gbytes = [](int cores) {
    return chip_rates("Apple M3 Max", cores).rates.bytes / 0.86e9;
  };
  EXPECT_NEAR(gbytes(30), 300, 0.1);
  EXPECT_NEAR(gbytes(40), 400, 0.1);
  EXPECT_NEAR(gbytes(44), 400, 0.1) << "more than any that is known";
  EXPECT_NEAR(gbytes(0), 300, 0.1);
}

TEST(AppleChips, ThatAreNotKnownAreEstimatedByTheirCores) {
  const ChipRates chip = chip_rates("Apple M9 Max", 50);
  EXPECT_NEAR(chip.rates.flops, 50 * 358e9, 1e9);
  EXPECT_NEAR(chip.rates.bytes, 0.86 * 550e9, 1e9);
  EXPECT_THAT(chip.basis, HasSubstr("other Apple GPUs with 50 cores, unmeasured"));
  const ChipRates other = chip_rates("AMD Radeon Pro 5500M", 24);
  EXPECT_EQ(other.rates.flops, gpu::Rates{}.flops);
  EXPECT_THAT(other.basis, Not(HasSubstr("published")));
}

gpu::Limits limits_of(const char* name, int cores) {
  gpu::Limits limits;
  limits.compute_units = std::uint32_t(cores);
  limits.rates = chip_rates(name, cores).rates;
  return limits;
}

/// The kernel of least cost, and its estimate.
std::pair<std::string, double> choice(const char* problem, const gpu::Limits& limits) {
  const ConvProblem p = parse_problem(problem);
  std::pair<std::string, double> best{"none", HUGE_VAL};
  for (const gpu::ConvKernel& kernel : gpu::conv_kernels()) {
    const bool ours = kernel.implementation == Implementation::optimized &&
                      std::count(kernel.dtypes.begin(), kernel.dtypes.end(), p.dtype) > 0;
    if (!ours || (kernel.supports && !kernel.supports(p, limits).empty())) continue;
    const double cost = kernel.cost(p, limits);
    if (cost < best.second) best = {kernel.name, cost};
  }
  return best;
}

TEST(AppleChips, TakeSensibleKernels) {
  for (const auto& [name, cores] : {std::pair("Apple M1", 8),
                                    {"Apple M1 Pro", 16},
                                    {"Apple M3 Pro", 18},
                                    {"Apple M4 Max", 40}}) {
    const gpu::Limits limits = limits_of(name, cores);
    for (const auto& [problem, kernel] : {std::pair("1x3x1080x1920,k64,3x3,p1", "direct"),
                                          {"1x3x224x224,k64,7x7,s2,p3", "direct"},
                                          {"1x64x56x56,k64,3x3,p1", "winograd_f2"},
                                          {"1x64x56x56,k256,1x1", "matrix_f32"},
                                          {"1x128x56x56,k128,3x3,s2,p1,nhwc", "matrix_f32"},
                                          {"1x256x14x14,k256,3x3,p1,f16,nhwc", "matrix"},
                                          {"1x32x112x112,k32,3x3,p1,g32", "depthwise"},
                                          {"1x64x56x56,k16,5x5,p2", "general"}})
      EXPECT_EQ(choice(problem, limits).first, kernel) << name << " " << problem;
  }
}

/// The baseline is bound by its bytes on an M1 Pro: 2779 us at 200 GB/s, 3037 us at the 183 GB/s
/// that were seen there.
TEST(AppleChips, EstimatesAreOfTheMachine) {
  const double us = choice("1x3x1080x1920,k64,3x3,p1", limits_of("Apple M1 Pro", 16)).second * 1e6;
  EXPECT_GT(us, 2779);
  EXPECT_LT(us, 1.2 * 2779);
}

}  // namespace
}  // namespace metalconv::metal
