// SPDX-License-Identifier: Apache-2.0
// The Metal device whole: on a Mac on its GPU, elsewhere on the stand-in for Apple's frameworks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/subject.h"
#include "bench/verify.h"
#include "core/registry.h"
#include "metalconv/metal.h"

namespace metalconv {
namespace {

class MetalRow : public testing::TestWithParam<const char*> {};

/// Verifies every row that takes the problem, ours and Apple's.
TEST_P(MetalRow, AgreesWithTheOracle) {
  const ConvProblem problem = parse_problem(GetParam());
  const auto device = make_metal_device();
  const auto queue = device->make_queue();
  bench::Operands operands(*device, problem);
  bench::Checks checks(problem);
  int verified = 0;
  for (const KernelRow& row : device->registry().rows()) {
    if (!row.refusal(problem).empty()) continue;
    bench::Subject subject(*device, *queue,
                           make_plan(*device, problem, {row.implementation, row.name}), operands);
    EXPECT_EQ(bench::verify(subject, checks).failure, "") << row.name;
    EXPECT_GT(queue->time([&] { subject.execute(); }), 0);
    ++verified;
  }
  EXPECT_GE(verified, 3);  // basic, one optimized, MPSGraph
}

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    , MetalRow,
    testing::Values("1x3x17x19,k16,3x3,p1", "1x3x17x19,k16,3x3,p1,nhwc,bias,relu",
                    "1x3x17x19,k16,3x3,p1,f16,bias,relu6", "2x3x9x14,k5,5x5,p2,bf16,nhwc,silu",
                    "1x6x11x13,k9,3x2,s2x3,p0x1x2x3,d1x2,g3,bias",
                    "1x6x11x13,k9,3x2,s2x3,p0x1x2x3,d1x2,g3,bias,nhwc",
                    "2x7x10x12,k7,3x3,s2,p1,g7,relu6", "2x7x10x12,k7,3x3,p1,g7,nhwc,f16,bias",
                    "1x4x10x12,k8,3x3,p1,g4,silu", "1x16x7x5,k10,1x1,bf16,bias"),
    test_name);

}  // namespace
}  // namespace metalconv
