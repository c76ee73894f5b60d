// SPDX-License-Identifier: Apache-2.0
// The gate itself: what is wrong has to be FAILED, and what is FAILED has no time.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <thread>

#include "bench/run.h"
#include "bench/table.h"
#include "bench/verify.h"
#include "conv_cases.h"
#include "core/half.h"
#include "expect_error.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

using bench::Verdict;
using std::int64_t;
using std::size_t;
using testing::HasSubstr;

Device& cpu() { return cpu_device(cpu_isas().front(), 2); }

bench::Workload workload(const std::vector<ConvProblem>& problems) {
  bench::Workload w{"custom", "", {}};
  for (const ConvProblem& p : problems) w.cases.push_back({to_text(p), p});
  return w;
}

/// So short that a time is no measurement, but there is one.
bench::RunOptions quick() {
  bench::RunOptions options;
  options.measure.budget_seconds = 0.01;
  options.measure.sample_seconds = 1e-4;
  options.measure.max_samples = 3;
  options.every_kernel = true;
  return options;
}

void expect_no_time(const bench::Row& row) {
  EXPECT_FALSE(row.time_us.has_value()) << row.kernel;
  EXPECT_TRUE(row.samples_us.empty()) << row.kernel;
  EXPECT_FALSE(row.speedup_vs_vendor.has_value()) << row.kernel;
  EXPECT_EQ(row.gflops, 0) << row.kernel;
}

// ---- the faults that anyone can inject

/// Every fault, behind every optimized kernel, on every problem in which it shows.
class Faults : public testing::TestWithParam<std::string> {};

TEST_P(Faults, AreFailedAndNeverTimed) {
  const bench::Fault& fault = bench::find_fault(GetParam());
  std::vector<ConvProblem> problems{bench::fault_problem()};
  for (const bench::Case& c : bench::find_workload("verification")->cases)
    if (fault.no_effect(c.problem).empty()) problems.push_back(c.problem);
  ASSERT_GE(problems.size(), 3u);
  FakeDevice device(cpu());  // without the roofs, which take time and are no matter here
  for (const KernelRow* row : our_rows(cpu())) device.add(*row);
  bench::RunOptions options = quick();
  options.inject = fault.name;
  const bench::Result result = bench::run({&device}, workload(problems), options);

  size_t failed = 0;
  for (const bench::Row& row : result.rows) {
    if (row.verdict == Verdict::skipped) continue;
    if (row.implementation != Implementation::optimized) {
      EXPECT_EQ(row.verdict, Verdict::ok) << row.kernel << " " << row.name << " " << row.reason;
      EXPECT_TRUE(row.time_us.has_value()) << row.kernel << " " << row.name;
      continue;
    }
    ++failed;
    EXPECT_EQ(row.verdict, Verdict::failed) << row.kernel << " " << row.name;
    EXPECT_FALSE(row.reason.empty()) << row.kernel << " " << row.name;
    EXPECT_THAT(row.reproducer, HasSubstr("--inject " + fault.name)) << row.name;
    expect_no_time(row);
  }
  EXPECT_GE(failed, problems.size());
}

std::vector<std::string> fault_names() {
  std::vector<std::string> names;
  for (const bench::Fault& f : bench::faults()) names.push_back(f.name);
  return names;
}
std::string test_name(const testing::TestParamInfo<std::string>& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Gate, Faults, testing::ValuesIn(fault_names()), test_name);

TEST(FaultList, SaysWhereAFaultShowsNothing) {
  const auto why = [](const char* name, const char* text) {
    return bench::find_fault(name).no_effect(parse_problem(text));
  };
  EXPECT_EQ(why("swapped-strides", "1x2x8x8,k2,3x3,s2"), "its strides along H and W are equal");
  EXPECT_EQ(why("swapped-strides", "1x2x3x3,k2,3x3,s2x1"), "it has one output pixel");
  EXPECT_EQ(why("dropped-group", "1x2x8x8,k2,3x3"), "it has one group");
  for (const bench::Fault& f : bench::faults()) {
    EXPECT_EQ(f.no_effect(parse_problem("0x4x8x8,k4,3x3,s1x2,g2")), "its output is empty")
        << f.name;
    EXPECT_EQ(f.no_effect(bench::fault_problem()), "") << f.name;
  }
  expect_error(ErrorCode::invalid_argument,
               "fault is 'none-such', but must be one of zero-fill, stale-rows, shifted-padding, "
               "swapped-strides, dropped-group, nan",
               [] { bench::find_fault("none-such"); });
}

// ---- kernels that are wrong in ways of their own

/// One execution: the right kernel and its operands.
struct Call {
  const ConvProblem& problem;
  TensorView x;
  Memory packed;
  TensorView bias, y;
  Memory workspace;
  std::function<void()> run;

  float* floats(const Memory& m) const { return static_cast<float*>(m.address()); }
  float& at(int64_t n, int64_t k, int64_t p, int64_t q) const {
    const auto& s = y.strides;
    return floats(y.memory)[n * s[0] + k * s[1] + p * s[2] + q * s[3]];
  }
  int64_t elements() const { return problem.y_elements(); }
};
using Mistake = std::function<void(const Call&)>;

/// The right kernel with a mistake around it, and a workspace of its own.
class Mistaken final : public PreparedConv {
 public:
  Mistaken(const ConvProblem& problem, std::unique_ptr<const PreparedConv> right, Mistake mistake)
      : problem_(problem), right_(std::move(right)), mistake_(std::move(mistake)) {}
  size_t packed_bytes() const override { return right_->packed_bytes(); }
  size_t workspace_bytes() const override { return right_->workspace_bytes() + 64; }
  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    right_->pack(queue, w, packed);
  }
  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    mistake_({problem_, x, packed, bias, y, workspace,
              [&] { right_->execute(queue, x, packed, bias, y, workspace); }});
  }

 private:
  ConvProblem problem_;
  std::unique_ptr<const PreparedConv> right_;
  Mistake mistake_;
};

class Gate : public testing::Test {
 protected:
  /// A kernel of the cpu that does everything, with `mistake` around its execution.
  void add(const std::string& name, const Mistake& mistake) {
    KernelRow row = *our_rows(cpu()).front();
    row.name = name;
    row.implementation = Implementation::optimized;
    row.make = [mistake, make = row.make](const ConvProblem& p) {
      return std::make_unique<Mistaken>(p, make(p), mistake);
    };
    device_.add(std::move(row));
  }
  bench::Row run_one(const ConvProblem& p) {
    return bench::run({&device_}, workload({p}), quick()).rows.at(0);
  }
  /// On each of these the mistake must be found, with these words.
  void expect_failed(const std::string& words, const Mistake& mistake) {
    add("mistaken", mistake);
    for (const char* text : {"2x4x9x11,k6,3x3,p1,bias", "1x4x9x11,k6,3x3,p1,bias,nhwc,g2,relu"}) {
      const bench::Row row = run_one(parse_problem(text));
      EXPECT_EQ(row.verdict, Verdict::failed) << text;
      EXPECT_THAT(row.reason, HasSubstr(words)) << text;
      EXPECT_THAT(row.reproducer, HasSubstr("--only mistaken")) << text;
      expect_no_time(row);
    }
  }

  FakeDevice device_{cpu()};
};

TEST_F(Gate, TheRightKernelPasses) {
  add("right", [](const Call& c) { c.run(); });
  const bench::Row row = run_one(parse_problem("2x4x9x11,k6,3x3,p1,bias"));
  EXPECT_EQ(row.verdict, Verdict::ok) << row.reason;
  EXPECT_TRUE(row.verification.exact);
  EXPECT_EQ(row.verification.coverage, "every output");
  EXPECT_EQ(row.verification.checked, 3 * 2 * 6 * 9 * 11);  // exact, special and random data
  EXPECT_LE(row.verification.worst_ratio, 1);
  EXPECT_TRUE(row.time_us.has_value());
  EXPECT_EQ(row.reproducer, "");
}

TEST_F(Gate, OneWrongBorderPixel) {
  expect_failed("1 of", [](const Call& c) {
    c.run();
    c.at(0, c.problem.K - 1, c.problem.P() - 1, c.problem.Q() - 1) += 1;
  });
}

TEST_F(Gate, AnOutputThatIsNotWritten) {
  expect_failed("y[n=0,k=0,p=0,q=0]", [](const Call& c) {
    const float before = c.at(0, 0, 0, 0);
    c.run();
    c.at(0, 0, 0, 0) = before;
  });
}

TEST_F(Gate, AnOutputThatIsNotWrittenWhereNobodyCompares) {
  // Beyond what the gate compares of a large output.
  const ConvProblem p = parse_problem("1x64x96x96,k96,3x3,p1");
  bench::Checks checks(p);
  const bench::Check& check = checks.get(bench::DataMode::exact);
  ASSERT_NE(check.coverage, "every output");
  std::vector<bool> compared(size_t(p.y_elements()));
  for (const bench::Point& point : check.points) compared[size_t(point.offset)] = true;
  const auto hidden = size_t(std::find(compared.begin(), compared.end(), false) - compared.begin());
  ASSERT_LT(hidden, compared.size());
  add("hidden", [hidden](const Call& c) {
    float& y = c.floats(c.y.memory)[hidden];
    const float before = y;
    c.run();
    y = before;
  });
  bench::Operands operands(device_, p);
  const auto queue = device_.make_queue();
  bench::Subject subject(device_, *queue, make_plan(device_, p), operands);
  EXPECT_EQ(bench::verify(subject, checks).failure,
            fmt::format("on exact integers: element {} of y was never written", hidden));
}

TEST_F(Gate, OneElementPastTheEnd) {
  expect_failed("memory beside y was overwritten", [](const Call& c) {
    c.run();
    c.floats(c.y.memory)[c.elements()] = 0;
  });
}

TEST_F(Gate, OneElementBeforeTheBeginning) {
  expect_failed("memory beside y was overwritten", [](const Call& c) {
    c.run();
    c.floats(c.y.memory)[-1] = 0;
  });
}

TEST_F(Gate, TooMuchWorkspace) {
  expect_failed("memory beside workspace was overwritten", [](const Call& c) {
    c.run();
    static_cast<char*>(c.workspace.address())[c.workspace.bytes] = 0;
  });
}

TEST_F(Gate, PackedWeightsOverrun) {
  expect_failed("memory beside packed was overwritten", [](const Call& c) {
    c.run();
    static_cast<char*>(c.packed.address())[c.packed.bytes] = 0;
  });
}

TEST_F(Gate, TheInputIsChanged) {
  expect_failed("the input x was overwritten", [](const Call& c) {
    c.run();
    c.floats(c.x.memory)[3] += 1;
  });
}

TEST_F(Gate, TheBiasIsChanged) {
  expect_failed("the bias was overwritten", [](const Call& c) {
    c.run();
    c.floats(c.bias.memory)[0] += 1;
  });
}

TEST_F(Gate, AWorkspaceThatIsReadBeforeItIsWritten) {
  expect_failed("expected", [](const Call& c) {
    const float left = c.floats(c.workspace)[0];
    c.run();
    c.at(0, 0, 0, 0) += left;
  });
}

TEST_F(Gate, AnOutputThatIsReadBeforeItIsWritten) {
  expect_failed("expected", [](const Call& c) {
    const float left = c.at(0, 1, 2, 3);
    c.run();
    c.at(0, 1, 2, 3) += left;
  });
}

TEST_F(Gate, NaNIsNeverWithinABound) {
  expect_failed("nan, expected", [](const Call& c) {
    c.run();
    c.at(0, 2, 1, 1) = std::numeric_limits<float>::quiet_NaN();
  });
}

TEST_F(Gate, InfinityIsNeverWithinABound) {
  expect_failed("is inf, expected", [](const Call& c) {
    c.run();
    c.at(0, 2, 1, 1) = std::numeric_limits<float>::infinity();
  });
}

TEST_F(Gate, ANaNThatIsSwallowed) {
  expect_failed("on NaN and infinities in the input", [](const Call& c) {
    c.run();
    float* y = c.floats(c.y.memory);
    std::replace_if(
        y, y + c.elements(), [](float v) { return v != v; }, 0.0f);
  });
}

TEST_F(Gate, ANaNThatSpreads) {
  expect_failed("on NaN and infinities in the input", [](const Call& c) {
    c.run();
    float* y = c.floats(c.y.memory);
    for (int64_t i = 1; i < c.elements(); ++i)
      if (y[i] != y[i]) y[0] = y[i];
  });
}

/// Sums that were kept in 16 bits: small integers survive that.
TEST_F(Gate, HalfPrecisionSums) {
  expect_failed("on random data", [](const Call& c) {
    c.run();
    float* y = c.floats(c.y.memory);
    const bool small = std::all_of(y, y + c.elements(), [](float v) { return !(v > 2048); });
    for (int64_t i = 0; small && i < c.elements(); ++i)
      if (y[i] == y[i] && y[i] != std::floor(y[i])) y[i] = f16_to_f32(f32_to_f16(y[i]));
  });
}

TEST_F(Gate, AKernelThatThrows) {
  expect_failed("the hardware is gone",
                [](const Call&) { throw Error(ErrorCode::device, "the hardware is gone"); });
}

/// A kernel that is right at first, and wrong on what is measured.
TEST_F(Gate, AKernelThatIsWrongOnTheLastData) {
  expect_failed("on random data", [calls = std::make_shared<int>()](const Call& c) {
    c.run();
    if (++*calls % 3 == 0) c.at(0, 0, 0, 0) += 1e-3f;
  });
}

TEST_F(Gate, AKernelThatCannotBePreparedHasNoTime) {
  KernelRow row = *our_rows(cpu()).front();
  row.make = [](const ConvProblem&) -> std::unique_ptr<const PreparedConv> {
    throw Error(ErrorCode::device, "the compiler is out of order");
  };
  device_.add(row);
  const bench::Row result = run_one(parse_problem("1x3x8x8,k4,3x3"));
  EXPECT_EQ(result.verdict, Verdict::skipped);
  EXPECT_EQ(result.reason, "the compiler is out of order");
  expect_no_time(result);
}

TEST_F(Gate, AVendorThatCrashesInItsTrialIsSkipped) {
  KernelRow row = *our_rows(cpu()).front();
  row.implementation = Implementation::vendor;
  row.name = "vendor-1";
  device_.add(row);
  bench::RunOptions options = quick();
  options.try_vendor = [](const ConvProblem&, const KernelRow& r) { return r.name + " crashed"; };
  const auto p = parse_problem("1x3x8x8,k4,3x3");
  const bench::Row result = bench::run({&device_}, workload({p}), options).rows.at(0);
  EXPECT_EQ(result.verdict, Verdict::skipped);
  EXPECT_EQ(result.reason, "vendor-1 crashed");
  expect_no_time(result);
}

TEST_F(Gate, AProblemThatDoesNotFitIsSkippedBeforeAnythingIsAllocated) {
  for (const KernelRow* row : our_rows(cpu())) device_.add(*row);
  const ConvProblem p = parse_problem("1x64x100000x100000,k64,3x3");
  for (const bench::Row& row : bench::run({&device_}, workload({p}), quick()).rows) {
    EXPECT_EQ(row.verdict, Verdict::skipped);
    EXPECT_THAT(row.reason, testing::MatchesRegex("it needs 9536.6 GiB, but .* GiB are free on "
                                                  "cpu"));
    expect_no_time(row);
  }
}

// ---- what there is to run

TEST(Workloads, AnAxisOfPrecisions) {
  bench::Axes axes;
  axes.precision = {Precision::ieee, Precision::tf32};
  const auto cases = bench::select({"1x8x4x4,k8,1x1"}, axes).cases;
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0].problem.precision, Precision::ieee);
  EXPECT_EQ(cases[1].problem.precision, Precision::tf32);
  axes.dtype = {DType::f32, DType::f16, DType::bf16};
  EXPECT_EQ(bench::select({"1x8x4x4,k8,1x1"}, axes).cases.size(), 4u) << "no tf32 of halves";
  axes.precision = {Precision::tf32};
  EXPECT_THROW(bench::select({"1x8x4x4,k8,1x1"}, axes), Error) << "who names it alone is told";
}

// ---- what is too good to be true

TEST_F(Gate, ATimeBelowTheRoofsIsAnError) {
  for (const KernelRow* row : our_rows(cpu())) device_.add(*row);
  // Machines that do one operation, or move one byte, in a millisecond.
  const auto slow = [](const char* name) {
    return RoofProbe{name, "a slow path", name == std::string("fma") ? 0 : 1e9, 1,
                     [](Queue&) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }};
  };
  const auto p = parse_problem("1x3x20x20,k8,3x3,p1");
  for (const std::vector<RoofProbe>& probes :
       {std::vector{slow("fma")}, std::vector{slow("write"), slow("read"), slow("copy")}}) {
    device_.probes = probes;
    const bench::Result result = bench::run({&device_}, workload({p}), quick());
    for (const bench::Row& row : result.rows) {
      EXPECT_EQ(row.verdict, Verdict::ok) << row.reason;
      EXPECT_TRUE(row.above_roof) << row.kernel;
      EXPECT_GT(row.roofline_percent, 105) << row.kernel;
      EXPECT_EQ(row.bound_by, probes.front().name == "fma" ? "compute" : "memory");
    }
    EXPECT_THAT(bench::terminal_summary(result), HasSubstr("ABOVE ROOF"));
    EXPECT_THAT(bench::terminal_summary(result), HasSubstr("such times count nowhere"));
  }
}

}  // namespace
}  // namespace metalconv::test
