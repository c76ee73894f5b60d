// SPDX-License-Identifier: Apache-2.0
// A few problems for every GPU kernel, instrumented as the build is: AddressSanitizer watches the
// bytes that they touch, ThreadSanitizer the barriers between them.
#include <gtest/gtest.h>

#include "emulator/runtime.h"
#include "gpu_cases.h"

namespace metalconv::test {
namespace {

class Sanitized : public testing::TestWithParam<const char*> {};

TEST_P(Sanitized, EveryKernelIsCleanAndRight) {
  if (const std::string why = emulator::unavailable(); !why.empty()) GTEST_SKIP() << why;
  EXPECT_EQ(verify_on_emulator(parse_problem(GetParam()), {LaneOrder::shuffled}), "");
}

INSTANTIATE_TEST_SUITE_P(Gpu, Sanitized,
                         testing::Values("1x3x9x21,k6,3x3,p1",                // direct, the ladder
                                         "1x2x7x10,k9,3x3,p1,nhwc,f16,bias",  // along channels
                                         "1x3x8x13,k5,5x5,p2",                // direct_rows
                                         "1x4x9x7,k6,7x7,s2,p3,nhwc",
                                         "2x9x5x4,k17,3x3,p1",   // general
                                         "1x40x3x3,k35,3x3,p1",  // matrix_f32, in parts
                                         "1x16x5x9,k17,3x3,p1",  // winograd_f2, winograd_f4
                                         "2x33x3x5,k33,3x3,p1,nhwc,bias",  // the same in parts
                                         "1x9x4x5,k34,1x1,f16,nhwc,bias",  // matrix
                                         "1x6x5x5,k6,3x3,p1,g6,nhwc"));    // depthwise

}  // namespace
}  // namespace metalconv::test
