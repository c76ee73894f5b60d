// SPDX-License-Identifier: Apache-2.0
// What the CUDA translation becomes in NVRTC's hands, where that library is: it compiles without
// any header of the toolkit, nothing spills, and diagnostics carry the .metal line. No GPU needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "msl/msl.h"
#include "nvrtc.h"

namespace metalconv::msl {
namespace {

using test::Nvrtc;

class NvrtcTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!nvrtc_.found()) GTEST_SKIP() << "no NVRTC: the CUDA translation is not compiled";
  }
  Nvrtc nvrtc_;
};

TEST_F(NvrtcTest, TheDialectCompilesWithoutSpills) {
  const std::string text = to_cuda(load_source(METALCONV_DIALECT_FILE), "msl_dialect.metal").text;
  for (const char* arch : {"sm_80", "sm_90"}) {
    for (const char* elem : {"float", "half", "bfloat"}) {
      SCOPED_TRACE(std::string(arch) + " " + elem);
      const auto result = nvrtc_.compile(
          text, {std::string("--gpu-architecture=") + arch, std::string("-DELEM=") + elem});
      ASSERT_TRUE(result.ok) << result.log;
      EXPECT_EQ(result.log.find("warning"), std::string::npos) << result.log;
      EXPECT_EQ(test::local_memory(result.log), "") << result.log;
    }
  }
}

TEST_F(NvrtcTest, DiagnosticsCarryTheMetalLine) {
  const std::string text =
      "#include <metal_stdlib>\nusing namespace metal;\n"
      "kernel void k(device float* x [[buffer(0)]],\n"
      "              uint i [[thread_position_in_grid]]) {\n"
      "  x[i] = unknown;\n}\n";
  const auto result =
      nvrtc_.compile(to_cuda(text, "kernels/k.metal").text, {"--gpu-architecture=sm_80"});
  EXPECT_FALSE(result.ok);
  EXPECT_THAT(result.log, testing::HasSubstr("kernels/k.metal(5): error"));
}

}  // namespace
}  // namespace metalconv::msl
