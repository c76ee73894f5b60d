// SPDX-License-Identifier: Apache-2.0
// Every kernel of ours, on every instruction set of this machine, against the oracle: the gate's
// exact, special-value and random data, poison, canaries and inputs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "bench/verify.h"
#include "conv_cases.h"
#include "metalconv/error.h"

namespace metalconv::test {
namespace {

using std::int64_t;

/// Beyond these more failures say nothing new.
constexpr int kMostFailures = 8;

std::string layout_name(const testing::TestParamInfo<Layout>& test) {
  return std::string(to_string(test.param));
}

std::string dtype_name(const testing::TestParamInfo<DType>& test) {
  return std::string(to_string(test.param));
}

using Rows = std::vector<const KernelRow*>;

class Exact : public testing::Test {
 protected:
  using Wanted = std::function<bool(const KernelRow&)>;

  /// Our rows that take `problem` and are wanted.
  void verify_everywhere(const ConvProblem& problem, int threads, const Wanted& wanted,
                         std::size_t last_level_cache = 0) {
    bench::Checks checks(problem);
    const auto isas = cpu_isas();
    for (const std::string& isa : isas) {
      Device& device = cpu_device(isa, threads, last_level_cache);
      bench::Operands operands(device, problem);
      for (const KernelRow* row : our_rows(device)) {
        // The plain kernel is the same on all.
        if (row->implementation == Implementation::basic && isa != isas.front()) continue;
        if (wanted(*row) && row->refusal(problem).empty())
          verify(device, *row, operands, checks, problem, cpu_flags(isa, threads));
        if (failures_ == kMostFailures) return;
      }
    }
  }

  /// One problem in `slices`, from `slice` on; with threads in turn, so that work is cut in
  /// different ways.
  void verify_slice(const std::vector<ConvProblem>& problems, std::size_t slice,
                    std::size_t slices) {
    for (std::size_t i = slice; i < problems.size() && failures_ < kMostFailures; i += slices)
      verify_everywhere(problems[i], 1 + int(i / slices) % 4,
                        [](const KernelRow&) { return true; });
  }

 private:
  void verify(Device& device, const KernelRow& row, bench::Operands& operands,
              bench::Checks& checks, const ConvProblem& problem, const std::string& flags) {
    std::string failure;
    try {
      const auto queue = device.make_queue();
      bench::Subject subject(device, *queue,
                             make_plan(device, problem, {row.implementation, row.name}), operands);
      failure = bench::verify(subject, checks).failure;
    } catch (const Error& e) {
      failure = fmt::format("it is not refused, but cannot be planned: {}", e.what());
    }
    if (failure.empty()) return;
    ++failures_;
    ADD_FAILURE() << to_text(problem) << ", " << row.name << ": " << failure
                  << "\n  again: " << bench::reproducer(problem, device, row, flags);
  }

  int failures_ = 0;
};

/// Sanitizers are slow: one problem in so many.
constexpr std::size_t kThinning = kSanitized ? 3 : 1;
/// So that ctest runs them beside each other.
constexpr std::size_t kSlices = 8, kNastySlices = 4, kHalvesSlices = 9;

class Covering : public Exact, public testing::WithParamInterface<std::size_t> {};
TEST_P(Covering, Problems) { verify_slice(covering_problems(), GetParam(), kSlices * kThinning); }
INSTANTIATE_TEST_SUITE_P(Slice, Covering, testing::Range(std::size_t(0), kSlices));

/// A sample: bit for bit their sums are those of f32 (cpu_relations_test.cpp).
class Halves : public Exact, public testing::WithParamInterface<DType> {
 protected:
  std::vector<ConvProblem> in_halves(std::vector<ConvProblem> problems) const {
    for (ConvProblem& p : problems) p.dtype = GetParam();
    return problems;
  }
  /// Each type its own.
  std::size_t slice() const { return GetParam() == DType::f16 ? 0 : 1; }
};
TEST_P(Halves, Covering) {
  verify_slice(in_halves(covering_problems()), slice(), kHalvesSlices * kThinning);
}
TEST_P(Halves, Nasty) { verify_slice(in_halves(nasty_problems()), slice(), 5); }
TEST_P(Halves, ProblemsThatSuitEachKernel) {
  for (const KernelRow* row : our_rows(cpu_device(cpu_isas().front(), 2)))
    for (const Layout layout : row->layouts)
      if (row->implementation != Implementation::basic)
        verify_slice(in_halves(problems_for(*row, layout, 14)), slice(), 2 * kThinning);
}
INSTANTIATE_TEST_SUITE_P(Dtype, Halves, testing::Values(DType::f16, DType::bf16), dtype_name);

class Nasty : public Exact, public testing::WithParamInterface<std::size_t> {};
TEST_P(Nasty, Problems) { verify_slice(nasty_problems(), GetParam(), kNastySlices); }
INSTANTIATE_TEST_SUITE_P(Slice, Nasty, testing::Range(std::size_t(0), kNastySlices));

class EachKernel : public Exact, public testing::WithParamInterface<Layout> {};
TEST_P(EachKernel, OnProblemsThatSuitIt) {
  for (const KernelRow* row : our_rows(cpu_device(cpu_isas().front(), 2))) {
    if (row->implementation == Implementation::basic) continue;  // takes anything
    const auto& orders = row->layouts;
    if (std::find(orders.begin(), orders.end(), GetParam()) == orders.end()) continue;
    const auto problems = problems_for(*row, GetParam(), 80 / kThinning);
    EXPECT_GE(problems.size(), 10u) << row->name << " takes next to nothing";
    for (std::size_t i = 0; i < problems.size(); ++i)
      verify_everywhere(problems[i], 1 + int(i) % 4,
                        [&](const KernelRow& r) { return r.name == row->name; });
  }
}
INSTANTIATE_TEST_SUITE_P(Layout, EachKernel, testing::Values(Layout::nchw, Layout::nhwc),
                         layout_name);

/// Outputs beyond the last-level cache may be written past it.
class Streaming : public Exact, public testing::WithParamInterface<Layout> {};
TEST_P(Streaming, OutputsLargerThanTheLastCache) {
  constexpr std::size_t kTinyCache = 1;
  for (const char* text : {"1x4x19x{},k32,3x3,p1,{}", "1x3x21x{},k16,1x1,{},bias,relu",
                           "1x32x17x{},k32,5x5,p2,g32,{}", "1x3x18x{},k32,3x3,p1,{},f16"})
    for (const int columns : {512, 517})
      verify_everywhere(
          parse_problem(fmt::format(fmt::runtime(text), columns, to_string(GetParam()))), 2,
          [](const KernelRow& row) { return row.implementation == Implementation::optimized; },
          kTinyCache);
}
INSTANTIATE_TEST_SUITE_P(Layout, Streaming, testing::Values(Layout::nchw, Layout::nhwc),
                         layout_name);

TEST_F(Exact, ManyChannelsInSmallSlots) {
  for (const char* text : kManyChannels)
    for (const Layout layout : {Layout::nchw, Layout::nhwc})
      for (const DType dtype : {DType::f32, DType::bf16})
        for (const int threads : {1, 4}) {
          ConvProblem p = parse_problem(text);
          p.layout = layout, p.dtype = dtype, p.bias = true, p.activation = Activation::relu;
          verify_everywhere(p, threads, [](const KernelRow& row) {
            return row.implementation == Implementation::optimized;
          });
        }
}

TEST(CoveringProblems, AreValidAndDistinct) {
  const auto& problems = covering_problems();
  for (const ConvProblem& p : problems) EXPECT_NO_THROW(p.validate()) << to_text(p);
  std::vector<std::string> texts;
  for (const ConvProblem& p : problems) texts.push_back(to_text(p));
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
}

TEST(CoveringProblems, HaveEveryValueOften) {
  const auto counts = factor_counts(covering_problems());
  EXPECT_GE(counts.size(), 50u);
  for (const auto& [value, count] : counts) EXPECT_GE(count, 20) << value;
}

/// Whatever one kernel refuses, two others take, so that no problem rests on one.
TEST(CoveringProblems, HaveTwoKernelsAtLeast) {
  auto problems = nasty_problems();
  problems.insert(problems.end(), covering_problems().begin(), covering_problems().end());
  const Rows rows = our_rows(cpu_device(cpu_isas().front(), 2));
  for (const ConvProblem& p : problems) {
    const auto able = std::count_if(rows.begin(), rows.end(),
                                    [&](const KernelRow* r) { return r->refusal(p).empty(); });
    EXPECT_GE(able, 2) << to_text(p);
  }
}

}  // namespace
}  // namespace metalconv::test
