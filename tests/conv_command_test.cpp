// SPDX-License-Identifier: Apache-2.0
// `conv` from file to file, against the oracle, and what it says of bad input.
#include "cli/conv_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "bench/data.h"
#include "cli/commands.h"
#include "cli/npy.h"
#include "core/half.h"
#include "core/reference.h"
#include "metalconv/cpu.h"
#include "metalconv/error.h"
#include "metalconv/plan.h"

namespace metalconv::cli {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
using testing::HasSubstr;
using testing::StartsWith;

/// A CPU that says how much memory it has, and refuses to be asked for any.
class FullDevice final : public Device {
 public:
  FullDevice(Device& cpu, std::size_t memory_bytes) : cpu_(cpu), info_(cpu.info()) {
    info_.memory_bytes = memory_bytes;
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Buffer> allocate(std::size_t) override {
    throw std::logic_error("memory was allocated before it was counted");
  }
  std::unique_ptr<Queue> make_queue() override { return cpu_.make_queue(); }
  const Registry& registry() const override { return cpu_.registry(); }
  std::vector<RoofProbe> roof_probes() override { return {}; }

 private:
  Device& cpu_;
  DeviceInfo info_;
};

class ConvCommand : public testing::Test {
 protected:
  ConvCommand() : folder_(testing::TempDir() + "metalconv_conv_test_" + std::to_string(getpid())) {
    fs::create_directories(folder_);
    options_.input = path("x.npy");
    options_.weights = path("w.npy");
    options_.output = path("y.npy");
  }
  ~ConvCommand() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Writes x.npy, w.npy and, if the problem has one, b.npy.
  void write_operands(const ConvProblem& p, const bench::Data& data) {
    const Shape x =
        p.layout == Layout::nchw ? Shape{p.N, p.C, p.H, p.W} : Shape{p.N, p.H, p.W, p.C};
    write_npy(path("x.npy"), p.dtype, x, data.x);
    write_npy(path("w.npy"), p.dtype, {p.K, p.C_per_group(), p.R, p.S}, data.w);
    if (p.bias) write_npy(path("b.npy"), p.dtype, {p.K}, data.bias);
  }

  void write_zeros(const std::string& name, const Shape& shape, DType dtype = DType::f32) {
    std::size_t bytes = size_of(dtype);
    for (auto size : shape) bytes *= std::size_t(size);
    write_npy(path(name), dtype, shape, Bytes(bytes));
  }

  /// Every output of y.npy must be the exact sum, rounded once to the dtype.
  void expect_exact(const ConvProblem& p, const bench::Data& data) {
    NpyFile y(path("y.npy"));
    const bool nchw = p.layout == Layout::nchw;
    const Shape shape = nchw ? Shape{p.N, p.K, p.P(), p.Q()} : Shape{p.N, p.P(), p.Q(), p.K};
    ASSERT_EQ(y.header().dtype, p.dtype);
    ASSERT_EQ(y.header().shape, shape);
    const Bytes got = y.read();
    const Reference reference(p, data.x.data(), data.w.data(), data.bias.data());
    for (std::int64_t n = 0; n < p.N; ++n)
      for (std::int64_t k = 0; k < p.K; ++k)
        for (std::int64_t i = 0; i < p.P(); ++i)
          for (std::int64_t j = 0; j < p.Q(); ++j) {
            const std::int64_t at = nchw ? ((n * p.K + k) * p.P() + i) * p.Q() + j
                                         : ((n * p.P() + i) * p.Q() + j) * p.K + k;
            Bytes wanted(4);
            from_double(p.dtype, reference.at(n, k, i, j).value, wanted.data(), 0);
            ASSERT_EQ(to_double(p.dtype, got.data(), at), to_double(p.dtype, wanted.data(), 0))
                << to_text(p) << ": y[" << n << "," << k << "," << i << "," << j << "]";
          }
  }

  std::string refusal(Device& device) {
    try {
      convolve_files(device, options_);
    } catch (const Error& e) {
      EXPECT_FALSE(fs::exists(options_.output)) << "an output was written";
      return e.what();
    }
    return {};
  }
  std::string refusal() { return refusal(*device_); }

  fs::path folder_;
  std::unique_ptr<Device> device_ = make_cpu_device();
  ConvOptions options_;
};

TEST_F(ConvCommand, EqualsTheOracleInEveryLayoutAndType) {
  const auto problem = parse_problem("2x6x7x5,k4,3x2,s2x1,p1x0x2x1,d1x2,g2,bias,relu");
  for (const char* implementation : {"basic", "optimized"})
    for (DType dtype : {DType::f32, DType::f16})
      for (Layout layout : {Layout::nchw, Layout::nhwc}) {
        ConvProblem p = problem;
        p.dtype = dtype;
        p.layout = layout;
        const bench::Data data = bench::make_data(p, bench::DataMode::exact, 7);
        write_operands(p, data);
        options_.bias = path("b.npy");
        options_.stride = "2,1";
        options_.padding = "1,0,2,1";
        options_.dilation = "1,2";
        options_.groups = "2";
        options_.activation = "relu";
        options_.layout = std::string(to_string(layout));
        options_.implementation = implementation;
        EXPECT_THAT(convolve_files(*device_, options_), StartsWith(to_text(p)));
        expect_exact(p, data);
      }
}

TEST_F(ConvCommand, PaddingTakesOneTwoOrFourNumbers) {
  const std::pair<const char*, const char*> forms[] = {{"2", "1x1x4x5,k1,3x3,p2"},
                                                       {"0,1", "1x1x4x5,k1,3x3,p0x1"},
                                                       {"1,2,0,1", "1x1x4x5,k1,3x3,p1x2x0x1"}};
  for (const auto& [padding, text] : forms) {
    const ConvProblem p = parse_problem(text);
    const bench::Data data = bench::make_data(p, bench::DataMode::exact, 1);
    write_operands(p, data);
    options_.padding = padding;
    convolve_files(*device_, options_);
    expect_exact(p, data);
  }
}

TEST_F(ConvCommand, TheOutputMayReplaceTheInput) {
  const ConvProblem p = parse_problem("1x2x4x4,k2,3x3,p1");
  const bench::Data data = bench::make_data(p, bench::DataMode::exact, 1);
  write_operands(p, data);
  options_.padding = "1";
  options_.output = options_.input;
  convolve_files(*device_, options_);
  fs::rename(options_.input, path("y.npy"));
  expect_exact(p, data);
}

TEST_F(ConvCommand, AnEmptyBatchMakesAnEmptyFile) {
  write_zeros("x.npy", {0, 3, 8, 9});
  write_zeros("w.npy", {4, 3, 3, 3});
  convolve_files(*device_, options_);
  EXPECT_EQ(NpyFile(path("y.npy")).header().shape, (Shape{0, 4, 6, 7}));
}

TEST_F(ConvCommand, NumbersOfAnOptionAreChecked) {
  write_zeros("x.npy", {1, 1, 4, 4});
  write_zeros("w.npy", {1, 1, 3, 3});
  for (const char* bad : {"", ",", "1,", ",1", "-1", "+1", "one", "1.5", "1 1", "1x1", "1,1,1",
                          "99999999999999999999"}) {
    for (std::string ConvOptions::*option : {&ConvOptions::stride, &ConvOptions::padding,
                                             &ConvOptions::dilation, &ConvOptions::groups}) {
      const std::string good = options_.*option;
      options_.*option = bad;
      EXPECT_THAT(refusal(), HasSubstr("is '" + std::string(bad) + "', but must be"));
      options_.*option = good;
    }
  }
  options_.stride = "0";
  EXPECT_THAT(refusal(), HasSubstr("stride_h is 0, but must be at least 1"));
  options_.stride = "1";
  options_.padding = "9223372036854775807";
  EXPECT_THAT(refusal(), HasSubstr("overflows 64 bits"));
}

TEST_F(ConvCommand, NamesAreCheckedAndListed) {
  write_zeros("x.npy", {1, 1, 4, 4});
  write_zeros("w.npy", {1, 1, 3, 3});
  options_.activation = "tanh";
  EXPECT_THAT(refusal(), HasSubstr("activation is 'tanh', but must be one of none, relu"));
  options_.activation = "none";
  options_.layout = "chwn";
  EXPECT_THAT(refusal(), HasSubstr("layout is 'chwn'"));
  options_.layout = "nchw";
  options_.implementation = "fastest";
  EXPECT_THAT(refusal(), HasSubstr("implementation is 'fastest'"));
}

TEST_F(ConvCommand, ShapesMustFit) {
  write_zeros("x.npy", {1, 4, 4, 4});
  write_zeros("w.npy", {4, 3, 3, 3});
  EXPECT_THAT(refusal(), HasSubstr("the weights are 4x3x3x3, 3 channels a group, but the input has "
                                   "4 channels in 1 group"));
  write_zeros("w.npy", {4, 1, 3, 3});
  options_.groups = "3";
  EXPECT_THAT(refusal(), HasSubstr("groups is 3, but must divide the input channels C = 4"));
  options_.groups = "4";
  write_zeros("w.npy", {4, 1, 5, 5});
  EXPECT_THAT(refusal(), HasSubstr("must not exceed the padded input"));
  write_zeros("w.npy", {4, 3, 3});
  EXPECT_THAT(refusal(),
              HasSubstr("the weights has 3 dimensions (4x3x3), but must have 4: K, C/g"));
  write_zeros("w.npy", {4, 1, 3, 3});
  write_zeros("x.npy", {});
  EXPECT_THAT(refusal(), HasSubstr("the input has 0 dimensions"));
  write_zeros("x.npy", {1, 0, 4, 4});
  EXPECT_THAT(refusal(), HasSubstr("input channels C is 0, but must be at least 1"));
}

TEST_F(ConvCommand, TheBiasMustFit) {
  write_zeros("x.npy", {1, 1, 4, 4});
  write_zeros("w.npy", {4, 1, 3, 3});
  options_.bias = path("b.npy");
  EXPECT_THAT(refusal(), HasSubstr("No such file"));
  write_zeros("b.npy", {4, 1});
  EXPECT_THAT(refusal(), HasSubstr("the bias has 2 dimensions (4x1), but must have 1: K"));
  write_zeros("b.npy", {5});
  EXPECT_THAT(refusal(), HasSubstr("the bias has 5 elements, but the weights make K = 4"));
  write_zeros("b.npy", {4}, DType::f16);
  EXPECT_THAT(refusal(), HasSubstr("the bias has dtype f16, but must have that of the input, f32"));
}

TEST_F(ConvCommand, TypesMustNotBeMixed) {
  write_zeros("x.npy", {1, 1, 4, 4}, DType::f16);
  write_zeros("w.npy", {4, 1, 3, 3});
  EXPECT_THAT(refusal(), HasSubstr("dtype f32, but must have that of the input, f16"));
}

TEST_F(ConvCommand, AnOutputThatDoesNotFitIsRefusedBeforeAllocation) {
  write_zeros("x.npy", {1, 1, 1, 1});
  write_zeros("w.npy", {1, 1, 1, 1});
  options_.padding = "1000000";  // 16 TB
  FullDevice device(*device_, std::size_t(1) << 40);
  EXPECT_THAT(refusal(device), HasSubstr("MiB of memory"));
  EXPECT_THAT(refusal(device), HasSubstr("cpu has 1048576.0 MiB free"));
}

TEST_F(ConvCommand, AnInputThatDoesNotFitIsRefusedBeforeAllocation) {
  write_zeros("w.npy", {1, 1, 3, 3});
  write_zeros("x.npy", {1, 1, 0, 524288});
  std::string header(128, ' ');
  std::ifstream(options_.input, std::ios::binary).read(header.data(), 128);
  header.replace(header.find("0, 524288"), 9, "524288, 524288");
  header.erase(header.size() - 6, 5);  // as many spaces before the final newline
  std::ofstream(options_.input, std::ios::binary) << header;
  std::error_code error;
  fs::resize_file(options_.input, 128 + (std::uintmax_t(1) << 40), error);  // a sparse TiB
  if (error) GTEST_SKIP() << "no sparse file of 1 TiB here: " << error.message();
  FullDevice device(*device_, std::size_t(1) << 40);
  EXPECT_THAT(refusal(device), HasSubstr("its input being 1048576.0 MiB"));
}

TEST_F(ConvCommand, AFailedWriteLeavesNothingBehind) {
  write_zeros("x.npy", {1, 1, 4, 4});
  write_zeros("w.npy", {1, 1, 3, 3});
  options_.output = path("missing/y.npy");
  EXPECT_THAT(refusal(), HasSubstr("missing/y.npy"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

TEST_F(ConvCommand, RunsFromACommandLine) {
  const ConvProblem p = parse_problem("1x1x4x4,k2,3x3,s2,p1x0x1x0,relu6");
  const bench::Data data = bench::make_data(p, bench::DataMode::exact, 1);
  write_operands(p, data);
  CLI::App app;
  add_conv_command(app);
  app.parse("conv --input " + path("x.npy") + " --weights " + path("w.npy") + " --output " +
            path("y.npy") + " --stride 2,2 --padding=1,0 --dilation 1,1 --groups 1 " +
            "--activation relu6 --layout nchw --device cpu --implementation basic");
  expect_exact(p, data);
}

TEST_F(ConvCommand, ANegativeNumberOnTheCommandLineReachesOurSentence) {
  write_zeros("x.npy", {1, 1, 4, 4});
  write_zeros("w.npy", {1, 1, 3, 3});
  CLI::App app;
  add_conv_command(app);
  try {
    app.parse("conv --input " + path("x.npy") + " --weights " + path("w.npy") + " --output " +
              path("y.npy") + " --padding -1,0,0,0");
    FAIL() << "it was accepted";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(),
                StartsWith("--padding is '-1,0,0,0', but must be 1 or 2 or 4 whole numbers"));
  }
}

TEST(ConvCommandLine, MissingOptionsAreUsageErrors) {
  CLI::App app;
  add_conv_command(app);
  EXPECT_THROW(app.parse("conv --input x.npy"), CLI::RequiredError);
}

}  // namespace
}  // namespace metalconv::cli
