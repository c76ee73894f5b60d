// SPDX-License-Identifier: Apache-2.0
// vendor.mm against the declarations of Apple's classes in metal_standin/mm: it is accepted as it
// is, and a selector or argument that Apple does not have is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace {

using testing::HasSubstr;

std::string vendor_source() {
  std::ifstream file(METALCONV_SOURCE_DIR "/src/metal/vendor.mm");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What clang says of a text in the place of vendor.mm; empty when it accepts it.
std::string diagnostics(const std::string& text, const std::string& name) {
  const auto file = std::filesystem::path(testing::TempDir()) / (name + ".mm");
  std::ofstream(file) << text;
  const std::string command =
      METALCONV_CLANG " -fsyntax-only " METALCONV_VENDOR_FLAGS " " + file.string() + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  for (std::array<char, 4096> part; std::fgets(part.data(), part.size(), pipe);)
    output += part.data();
  pclose(pipe);
  std::filesystem::remove(file);
  return output;
}

TEST(MetalSelectors, OfTheVendorAreApples) {
  EXPECT_EQ(diagnostics(vendor_source(), "metal_vendor_as_it_is"), "");
}

struct Slip {
  std::string_view right, wrong, complaint;
};

constexpr Slip kSlips[] = {{"convolution2DWithSourceTensor:x weightsTensor",
                            "convolution2DWithSourceTensor:x weightTensor",
                            "'convolution2DWithSourceTensor:weightTensor:"},
                           {"initWithMPSNDArray", "initWithNDArray", "'initWithNDArray:'"},
                           {"optimizationLevel", "optimisationLevel", "'optimisationLevel'"},
                           {"rootCommandBuffer", "baseCommandBuffer", "'baseCommandBuffer'"},
                           {"MPSDataTypeBFloat16", "MPSDataTypeBF16", "'MPSDataTypeBF16'"},
                           {"inputsArray:inputs", "inputsArray:commands", "'MPSCommandBuffer *'"}};

TEST(MetalSelectors, ThatAppleDoesNotHaveAreRefused) {
  std::string text = vendor_source();
  for (const Slip& slip : kSlips) {
    const std::size_t at = text.find(slip.right);
    ASSERT_NE(at, std::string::npos) << slip.right;
    text.replace(at, slip.right.size(), slip.wrong);
  }
  const std::string complaints = diagnostics(text, "metal_vendor_with_slips");
  for (const Slip& slip : kSlips) EXPECT_THAT(complaints, HasSubstr(std::string(slip.complaint)));
}

}  // namespace
