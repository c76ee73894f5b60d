// SPDX-License-Identifier: Apache-2.0
// oneDNN behind its module: every row against the float64 oracle, and what happens around it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/subject.h"
#include "bench/verify.h"
#include "metalconv/cpu.h"
#include "metalconv/error.h"

namespace metalconv {
namespace {

using bench::Checks;
using bench::Operands;
using bench::Subject;
using testing::HasSubstr;

std::vector<const KernelRow*> vendor_rows_of(const Device& device) {
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : device.registry().rows())
    if (row.implementation == Implementation::vendor) rows.push_back(&row);
  return rows;
}

std::unique_ptr<Device> two_threads(const std::string& isa = {}) {
  CpuOptions options;
  options.threads = 2;
  options.isa = isa;
  return make_cpu_device(options);
}

class Vendor : public testing::Test {
 protected:
  void SetUp() override {
    if (rows.empty()) GTEST_SKIP() << "no vendor here: " << device->info().facts.at("vendor");
  }

  Plan plan(const KernelRow& row, const ConvProblem& problem) const {
    return make_plan(*device, problem, {Implementation::vendor, row.name});
  }

  std::unique_ptr<Device> device = two_threads();
  std::vector<const KernelRow*> rows = vendor_rows_of(*device);
};

// bench::verify poisons outputs and workspace and puts canaries around every buffer.
class VendorProblem : public Vendor, public testing::WithParamInterface<const char*> {};

TEST_P(VendorProblem, AgreesWithTheOracle) {
  const ConvProblem problem = parse_problem(GetParam());
  const auto queue = device->make_queue();
  Operands operands(*device, problem);
  Checks checks(problem);
  for (const KernelRow* row : rows) {
    ASSERT_EQ(row->refusal(problem), "") << row->name;
    Subject subject(*device, *queue, plan(*row, problem), operands);
    const auto verified = bench::verify(subject, checks);
    EXPECT_EQ(verified.failure, "") << row->name << ": " << subject.plan().detail();
    RecordProperty(row->name, subject.plan().detail());
  }
}

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    , VendorProblem,
    testing::Values("1x3x60x80,k64,3x3,p1", "1x3x60x80,k64,3x3,p1,nhwc", "1x1x1x1,k1,1x1",
                    "2x64x28x28,k64,3x3,p1", "2x64x28x28,k64,3x3,p1,nhwc",  // Winograd applies
                    "1x128x19x23,k96,3x3,p1,relu", "3x16x14x14,k40,1x1,bias",
                    "2x24x15x17,k36,3x3,s2,p1,g4,bias,relu6",
                    "2x24x15x17,k36,3x3,s2,p1,g4,bias,relu6,nhwc",
                    "2x32x17x19,k32,3x3,p1,g32,bias,relu6",
                    "2x32x17x19,k32,3x3,s2,p1,g32,bias,relu6,nhwc",
                    "1x8x8x9,k16,3x3,p1,g8,relu",              // two outputs a group
                    "1x5x20x21,k7,5x3,s3x1,p2x0x1x3,bias",     // unequal all around
                    "1x5x20x21,k7,5x3,s3x1,p2x0x1x3,nhwc",     //
                    "1x12x25x27,k20,3x3,d2x3,p2x3,bias,relu",  //
                    "1x12x25x27,k20,3x3,d2x3,p2x3,nhwc",       //
                    "1x3x40x40,k16,7x7,s2,p3,bias,relu6", "1x17x9x4,k33,2x4,p0x3x1x0"),
    test_name);

TEST_F(Vendor, NamesTheVersionAndTheWay) {
  const ConvProblem problem = parse_problem("1x16x20x20,k16,3x3,p1");
  for (const KernelRow* row : rows) {
    EXPECT_THAT(row->name, testing::MatchesRegex("onednn-[0-9]+[.][0-9]+[.][0-9]+"));
    const std::string detail = plan(*row, problem).detail();
    EXPECT_THAT(detail, HasSubstr("oneDNN " + row->name.substr(std::strlen("onednn-"))));
    EXPECT_THAT(detail, testing::Not(HasSubstr("ref")));
  }
}

TEST_F(Vendor, RefusesInWords) {
  const auto refusal = [&](const char* text) { return rows[0]->refusal(parse_problem(text)); };
  EXPECT_THAT(refusal("1x3x9x9,k4,3x3,bf16"), HasSubstr("dtype is bf16"));
  EXPECT_THAT(refusal("1x3x9x9,k4,3x3,silu"), HasSubstr("activation is silu"));
  EXPECT_THAT(refusal("1x1x3x3000000000,k1,3x3"), HasSubstr("32 bits"));
}

TEST_F(Vendor, PlansAnEmptyBatch) {
  const ConvProblem problem = parse_problem("0x16x20x20,k16,3x3,p1");
  const std::vector<float> w(std::size_t(problem.w_elements()), 1);
  for (const KernelRow* row : rows)
    conv2d(*device, problem, nullptr, w.data(), nullptr, nullptr,
           {Implementation::vendor, row->name});
}

// One plan, one set of packed weights, a workspace and a queue for each thread.
TEST_F(Vendor, ExecutesFromTwoThreadsAtOnce) {
  const ConvProblem problem = parse_problem("1x20x30x31,k24,3x3,p1,bias,relu6");
  for (const KernelRow* row : rows) {
    const auto queue = device->make_queue();
    Operands operands(*device, problem);
    Checks checks(problem);
    Subject subject(*device, *queue, plan(*row, problem), operands);
    ASSERT_EQ(bench::verify(subject, checks).failure, "");  // leaves its inputs in the operands
    const auto wanted = operands.y.download();

    const Plan& shared = subject.plan();
    const auto repeat = [&](std::vector<std::byte>* got) {
      const auto own_queue = device->make_queue();
      const auto workspace = device->allocate(shared.workspace_bytes());
      const auto y = device->allocate(wanted.size());
      for (int i = 0; i < 50; ++i)
        shared.execute(*own_queue, x_view(problem, operands.x.memory()), subject.packed().memory(),
                       bias_view(problem, operands.bias.memory()), y_view(problem, y->memory()),
                       workspace->memory());
      y->download(got->data(), got->size());
    };
    std::vector<std::byte> one(wanted.size()), other(wanted.size());
    std::thread beside(repeat, &other);
    repeat(&one);
    beside.join();
    EXPECT_EQ(one, wanted) << row->name;
    EXPECT_EQ(other, wanted) << row->name;
  }
}

TEST_F(Vendor, IsKeptToTheInstructionSetOfTheFirstDevice) {
  const auto isas = cpu_isas();
  if (isas.size() < 2) GTEST_SKIP() << "one instruction set here";
  const auto second = two_threads(isas.back());
  const ConvProblem problem = parse_problem("1x16x20x20,k16,3x3,p1");
  const Plan late =
      make_plan(*second, problem, {Implementation::vendor, vendor_rows_of(*second)[0]->name});
  EXPECT_THAT(late.detail(), HasSubstr("in this process, not " + isas.back()));
}

// A copy of this program, alone in a folder, is as a command that was carried without its modules.
TEST(VendorModules, MissingOnesAreNamed) {
  if (std::getenv("METALCONV_TEST_ALONE")) {
    const auto device = make_cpu_device();
    EXPECT_TRUE(vendor_rows_of(*device).empty());
    EXPECT_THAT(device->info().facts.at("vendor"), HasSubstr("none ("));
    EXPECT_THAT(device->info().facts.at("vendor"), testing::ContainsRegex("one(DNN|dnn)"));
    return;
  }
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / ("alone-" + std::to_string(getpid()));
  fs::create_directories(folder);
  fs::copy_file("/proc/self/exe", folder / "vendor_test");
  const std::string command = "METALCONV_TEST_ALONE=1 '" + (folder / "vendor_test").string() +
                              "' --gtest_filter=VendorModules.* >'" + (folder / "log").string() +
                              "' 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream log(folder / "log");
  EXPECT_EQ(status, 0) << std::string(std::istreambuf_iterator<char>(log), {});
  fs::remove_all(folder);
}

}  // namespace
}  // namespace metalconv
