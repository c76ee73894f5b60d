// SPDX-License-Identifier: Apache-2.0
#include "bench/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "expect_error.h"
#include "fake_result.h"

namespace metalconv::bench {
namespace {

using std::string;
using test::expect_error;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr const char* kProblem = "1x3x600x800,k64,3x3,p1";

/// One problem with basic, optimized and vendor.
Result three_rows() {
  return fake::with_rows("baseline", {{"800x600", kProblem}},
                         {{{Implementation::basic, "basic", 20},
                           {Implementation::optimized, "direct", 1.2},
                           {Implementation::vendor, "onednn-3.2.0", 3}}});
}

/// `row` takes `factor` times as long.
void scale(Row* row, double factor) {
  for (double& us : row->samples_us) us *= factor;
  row->time_us = median_interval(row->samples_us);
}

void set_noise(Row* row, double noise) { fake::time(row, row->time_us->median, noise); }

std::vector<Change> changes(const Comparison& comparison) {
  std::vector<Change> list;
  for (const ComparedRow& row : comparison.rows) list.push_back(row.change);
  return list;
}

/// The three rows with the middle one changed.
ComparedRow compared(const std::function<void(Row* a, Row* b)>& edit, double tolerance = 0.03) {
  Result a = three_rows(), b = three_rows();
  edit(&a.rows[1], &b.rows[1]);
  const Comparison comparison = compare(a, b, tolerance);
  EXPECT_EQ(comparison.rows.size(), 3u);
  for (const std::size_t other : {0u, 2u})
    EXPECT_EQ(comparison.rows[other].change, Change::same) << comparison.rows[other].reason;
  return comparison.rows.at(1);
}

// ---- verdicts

TEST(Judge, NeedsTheWholeInterval) {
  EXPECT_EQ(judge({1.2, 1.031, 1.4}, 0.03), Change::faster);
  EXPECT_EQ(judge({1.2, 1.029, 1.4}, 0.03), Change::unclear);
  EXPECT_EQ(judge({0.9, 0.8, 0.969}, 0.03), Change::slower);
  EXPECT_EQ(judge({0.9, 0.8, 0.971}, 0.03), Change::unclear);
  EXPECT_EQ(judge({1.0, 0.971, 1.029}, 0.03), Change::same);
  EXPECT_EQ(judge({1.0, 0.969, 1.029}, 0.03), Change::unclear);
  EXPECT_EQ(judge({1.0, 0.971, 1.031}, 0.03), Change::unclear);
  EXPECT_EQ(judge({1.0, 0.5, 2.0}, 0.03), Change::unclear);
  EXPECT_EQ(judge({1, 1, 1}, 0), Change::same);
}

TEST(Judge, TakesNothingThatIsNotANumber) {
  for (const double bad : {kNan, kInfinity, -kInfinity}) {
    EXPECT_EQ(judge({bad, bad, bad}, 0.03), Change::unclear) << bad;
    EXPECT_EQ(judge({2, bad, 3}, 0.03), Change::unclear) << bad;
    EXPECT_EQ(judge({0.4, 0.3, bad}, 0.03), Change::unclear) << bad;
    EXPECT_EQ(judge({1, bad, 1}, 0.03), Change::unclear) << bad;
  }
}

TEST(Compare, AResultWithItselfIsTheSame) {
  const Comparison comparison = compare(fake::baseline(), fake::baseline());
  EXPECT_EQ(comparison.rows.size(), 12u);
  EXPECT_EQ(comparison.count(Change::same), 12u);
  EXPECT_FALSE(comparison.has_regression());
  EXPECT_THAT(comparison.warnings, IsEmpty());
  for (const MeanRatio& mean : comparison.means) EXPECT_DOUBLE_EQ(mean.ratio, 1);
}

TEST(Compare, FasterIsB) {
  const ComparedRow row = compared([](Row*, Row* b) { scale(b, 0.5); });
  EXPECT_EQ(row.change, Change::faster);
  EXPECT_NEAR(row.ratio->median, 2, 1e-9);
  EXPECT_NEAR(*row.us_a / *row.us_b, 2, 1e-9);
  EXPECT_EQ(row.reason, "");
}

TEST(Compare, SlowerIsARegression) {
  Result a = three_rows(), b = three_rows();
  scale(&b.rows[1], 1.1);
  const Comparison comparison = compare(a, b);
  EXPECT_THAT(changes(comparison), ElementsAre(Change::same, Change::slower, Change::same));
  EXPECT_TRUE(comparison.has_regression());
}

TEST(Compare, NoiseIsUnclearAndNoRegression) {
  Result a = three_rows(), b = three_rows();
  for (Result* r : {&a, &b}) set_noise(&r->rows[1], 0.4);
  const Comparison comparison = compare(a, b);
  EXPECT_EQ(comparison.rows[1].change, Change::unclear);
  EXPECT_FALSE(comparison.has_regression());
}

TEST(Compare, BothSidesAreResampled) {
  const auto with_noise = [](double noise_a, double noise_b) {
    return compared([&](Row* a, Row* b) {
             scale(b, 0.9);
             set_noise(a, noise_a);
             set_noise(b, noise_b);
           })
        .change;
  };
  EXPECT_EQ(with_noise(1e-6, 1e-6), Change::faster);
  EXPECT_EQ(with_noise(0.4, 1e-6), Change::unclear);
  EXPECT_EQ(with_noise(1e-6, 0.4), Change::unclear);
}

TEST(Compare, ToleranceDecides) {
  const auto at = [](double tolerance) {
    return compared([](Row*, Row* b) { scale(b, 1.1); }, tolerance).change;
  };
  EXPECT_EQ(at(0.03), Change::slower);
  EXPECT_EQ(at(0.05), Change::slower);
  EXPECT_EQ(at(0.09), Change::unclear);
  EXPECT_EQ(at(0.15), Change::same);
}

TEST(Compare, ToleranceIsAPart) {
  for (const double bad : {-0.01, 1.0, kInfinity})
    EXPECT_THROW(compare(three_rows(), three_rows(), bad), Error) << bad;
  expect_error(ErrorCode::invalid_argument, "tolerance is nan, but must be at least 0 and below 1",
               [] { compare(three_rows(), three_rows(), kNan); });
}

// ---- rows without a time

TEST(Compare, OkThenFailedIsARegression) {
  Result a = three_rows(), b = three_rows();
  fake::fail(&b.rows[1], "y[0,0,0,0] is nan, expected 1");
  const Comparison comparison = compare(a, b);
  EXPECT_EQ(comparison.rows[1].change, Change::failed);
  EXPECT_EQ(comparison.rows[1].reason, "y[0,0,0,0] is nan, expected 1");
  EXPECT_THAT(comparison.rows[1].reproducer, HasSubstr("metalconv verify '"));
  EXPECT_FALSE(comparison.rows[1].ratio);
  EXPECT_TRUE(comparison.has_regression());
}

TEST(Compare, OkWithoutATimeThenFailedIsARegression) {
  const auto edit = [](Row* a, Row* b) {
    a->time_us.reset();
    a->samples_us.clear();
    fake::fail(b, "wrong");
  };
  EXPECT_EQ(compared(edit).change, Change::failed);
}

TEST(Compare, RowsWithoutATimeHaveAReason) {
  using Edit = std::function<void(Row*, Row*)>;
  const std::pair<Edit, string> cases[] = {
      {[](Row* a, Row*) { fake::fail(a, "it is wrong"); }, "failed in A: it is wrong"},
      {[](Row* a, Row* b) { fake::fail(a, "x"), fake::fail(b, "y"); },
       "failed in A: x; failed in B: y"},
      {[](Row*, Row* b) { fake::skip(b, "it crashed"); }, "skipped in B: it crashed"},
      {[](Row*, Row* b) { b->time_us.reset(); }, "no time in B"},
      {[](Row*, Row* b) { b->above_roof = true; }, "faster than the roofs allow in B"},
      {[](Row*, Row* b) { b->samples_us.clear(); }, "0 samples in B, an interval needs at least 3"},
      {[](Row* a, Row*) { a->samples_us.resize(1); },
       "1 sample in A, an interval needs at least 3"},
      {[](Row*, Row* b) { b->samples_us[4] = kNan; },
       "a sample is nan in B, it must be finite and above 0"},
      {[](Row* a, Row*) { a->samples_us[0] = kInfinity; },
       "a sample is inf in A, it must be finite and above 0"},
      {[](Row* a, Row*) { a->samples_us[0] = 0; },
       "a sample is 0 in A, it must be finite and above 0"},
  };
  for (const auto& [edit, reason] : cases) {
    const ComparedRow row = compared(edit);
    EXPECT_EQ(row.change, Change::not_compared) << reason;
    EXPECT_EQ(row.reason, reason);
    EXPECT_FALSE(row.ratio) << reason;
  }
}

TEST(Compare, RowsOfOneFileAreListed) {
  Result a = three_rows(), b = three_rows();
  a.rows.erase(a.rows.begin() + 2);
  b.rows.erase(b.rows.begin());
  const Comparison comparison = compare(a, b);
  EXPECT_THAT(changes(comparison),
              ElementsAre(Change::not_compared, Change::same, Change::not_compared));
  EXPECT_EQ(comparison.rows[0].reason, "only in A");
  EXPECT_EQ(comparison.rows[0].kernel_b, "");
  EXPECT_EQ(comparison.rows[2].reason, "only in B");
  EXPECT_EQ(comparison.rows[2].implementation, Implementation::vendor);
  EXPECT_FALSE(comparison.has_regression());
}

TEST(Compare, NothingInCommonIsAnError) {
  Result other = three_rows();
  for (Row& row : other.rows) row.device = "cuda";
  expect_error(ErrorCode::invalid_argument,
               "A holds 3 rows and B 3 rows, but none of the same problem, device, implementation "
               "and kernel: nothing can be compared",
               [&] { compare(three_rows(), other); });
  EXPECT_THROW(compare(three_rows(), fake::empty("baseline")), Error);
}

// ---- matching

TEST(Compare, AChangedChoiceIsMatchedAndSaid) {
  const ComparedRow row = compared([](Row*, Row* b) {
    b->kernel = "winograd_row";
    scale(b, 0.5);
  });
  EXPECT_EQ(row.change, Change::faster);
  EXPECT_TRUE(row.kernel_changed());
  EXPECT_EQ(row.kernel_a, "direct");
  EXPECT_EQ(row.kernel_b, "winograd_row");
}

TEST(Compare, AChangedChoiceThatFailsIsARegression) {
  const auto edit = [](Row*, Row* b) {
    b->kernel = "winograd_row";
    fake::fail(b, "wrong");
  };
  EXPECT_EQ(compared(edit).change, Change::failed);
}

TEST(Compare, OfSeveralKernelsNoneIsTheChoice) {
  const Result a = three_rows();
  Result b = three_rows();
  b.rows[1].kernel = "general";
  b.rows.push_back(b.rows[1]);
  b.rows.back().kernel = "winograd_row";
  const Comparison comparison = compare(a, b);
  EXPECT_THAT(changes(comparison), ElementsAre(Change::same, Change::not_compared, Change::same,
                                               Change::not_compared, Change::not_compared));
  EXPECT_EQ(comparison.rows[1].reason, "only in A");
}

TEST(Compare, KernelsOfAVendorAreNotInterchangeable) {
  Result b = three_rows();
  b.rows[2].kernel = "onednn-2.6.3";
  EXPECT_EQ(compare(three_rows(), b).count(Change::not_compared), 2u);
}

TEST(Compare, OtherProblemsAndDevicesAreOtherRows) {
  Result b = three_rows();
  b.rows[0].problem = parse_problem("1x3x600x800,k64,3x3,p1,nhwc");
  b.rows[1].device = "cuda";
  EXPECT_EQ(compare(three_rows(), b).count(Change::not_compared), 4u);
}

TEST(Compare, NamesMayChangeAndTellTwinsApart) {
  Result a = three_rows(), b = three_rows();
  for (Row& row : b.rows) row.name = "renamed";
  EXPECT_EQ(compare(a, b).count(Change::same), 3u);

  a = b = three_rows();
  for (Result* r : {&a, &b})
    for (int i = 0; i < 3; ++i) {
      r->rows.push_back(r->rows[std::size_t(i)]);
      r->rows.back().name = "twin";
      scale(&r->rows.back(), 2);
    }
  std::rotate(b.rows.begin(), b.rows.begin() + 3, b.rows.end());
  EXPECT_EQ(compare(a, b).count(Change::same), 6u);
}

TEST(Compare, RowsMatchInAnyOrder) {
  Result b = fake::baseline();
  std::reverse(b.rows.begin(), b.rows.end());
  EXPECT_EQ(compare(fake::baseline(), b).count(Change::same), 12u);
}

// ---- means and warnings

TEST(Compare, MeansAreGeometricAndByImplementation) {
  Result b = fake::baseline();
  const double factors[] = {0.5, 1, 2};
  for (std::size_t i = 0; i < 3; ++i) {
    scale(&b.rows[4 * i], factors[i] / 2);
    scale(&b.rows[4 * i + 1], factors[i]);
  }
  fake::skip(&b.rows[2], "not here");
  const auto means = compare(fake::baseline(), b).means;
  ASSERT_EQ(means.size(), 3u);
  EXPECT_EQ(means[0].implementation, Implementation::basic);
  EXPECT_NEAR(means[0].ratio, 2, 1e-9);
  EXPECT_NEAR(means[1].ratio, 1, 1e-9);
  EXPECT_NEAR(means[2].ratio, 1, 1e-9);
  EXPECT_EQ(means[1].rows, 3u);
  EXPECT_EQ(means[2].rows, 5u) << "two vendors, one row skipped";
}

TEST(Compare, WarnsOfWhatElseDiffers) {
  Result a = three_rows(), b = three_rows();
  a.machine.emplace_back("cpu memory free", "20 GiB");
  b.machine.emplace_back("cpu memory free", "21 GiB");
  b.machine[5].second = "0.2.0";
  EXPECT_THAT(compare(a, b).warnings, IsEmpty()) << "these differ between any two runs";

  b.mode = "cold";
  b.interrupted = true;
  b.warnings = {"The load average was 3.1."};
  b.machine[0].second = "Another Processor";
  b.machine[1].second = "4";
  b.machine.erase(b.machine.begin() + 2);
  b.machine.emplace_back("cuda", "NVIDIA H100");
  b.machine.emplace_back("cuda driver", "580");
  b.rows.push_back(b.rows[0]);
  b.rows.back().device = "cuda";
  EXPECT_THAT(
      compare(a, b).warnings,
      ElementsAre("The modes differ: A was measured warm and B cold, which are not the same time.",
                  "The devices differ: A holds rows of cpu and B of cpu and cuda.",
                  "The machines differ: cpu is Made-up Processor 9000 in A and Another Processor "
                  "in B.",
                  "The machines differ: cpu threads is 2 in A and 4 in B.",
                  "The machines differ: cpu instruction set is avx512 in A and not given in B.",
                  "B was interrupted and holds completed problems only.",
                  "B was measured with a warning: The load average was 3.1."));
}

// ---- as text and as JSON

/// A comparison that has everything.
Comparison rich() {
  Result a = fake::baseline(), b = fake::baseline();
  fake::fail(&b.rows[0], "y[0,3,599,0] is nan, expected 1.25 within 3e-06");
  scale(&b.rows[1], 0.66);
  b.rows[1].kernel = "winograd_row";
  fake::skip(&b.rows[2], "it crashed in a child process (signal 11)");
  scale(&b.rows[5], 1.2);
  set_noise(&b.rows[6], 0.4);
  b.rows.pop_back();
  return compare(a, b);
}

TEST(CompareText, SaysAllOfIt) {
  const string text = to_text(rich());
  for (const char* part :
       {"A: baseline, warm, 2026-01-02T03:04:05Z, metalconv 0.1.0\n",
        "FAILED 800x600 cpu basic: y[0,3,599,0] is nan, expected 1.25 within 3e-06\n"
        "  again: metalconv verify '",
        "* 800x600 cpu optimized: the planner chose direct in A and winograd_row in B\n",
        "not compared: 800x600 cpu vendor onednn-2.6.3: skipped in B: it crashed in a child "
        "process (signal 11)\n",
        "not compared: 1920x1080 cpu vendor onednn-3.2.0: only in A\n", "1.515 (1.5", "FASTER *\n",
        "SLOWER\n", "SAME\n", "UNCLEAR\n", "geometric mean of A / B: basic 1.000, optimized ",
        "1 FASTER, 1 SLOWER, 6 SAME, 1 UNCLEAR, 1 FAILED, 2 not compared\n",
        "above 1, B is faster; tolerance +-3 %\n"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(CompareText, TheTableFitsInEightyColumns) {
  Result a = fake::baseline();
  for (const Row& row : fake::baseline().rows) {
    a.rows.push_back(row);
    a.rows.back().device = "emulator";
    a.rows.back().name = to_text(row.problem) + ", a long name";
  }
  for (const Comparison& comparison : {rich(), compare(a, a)}) {
    std::istringstream lines(to_text(comparison));
    bool table = false;
    int rows = 0;
    for (string line; std::getline(lines, line);) {
      if (line.empty()) table = false;
      if (line.starts_with("problem")) table = true;
      if (!table) continue;
      EXPECT_LE(line.size(), 80u) << line;
      ++rows;
    }
    EXPECT_GT(rows, 10);
  }
}

TEST(CompareText, DevicesHaveTheirOwnMeans) {
  Result a = three_rows();
  a.rows.push_back(a.rows[1]);
  a.rows.back().device = "cuda";
  Result b = a;
  scale(&b.rows.back(), 0.5);
  const string text = to_text(compare(a, b));
  EXPECT_THAT(text, HasSubstr("geometric mean of A / B on cpu: basic 1.000, optimized 1.000, "
                              "vendor 1.000\n"));
  EXPECT_THAT(text, HasSubstr("geometric mean of A / B on cuda: optimized 2.000\n"));
}

TEST(CompareText, WithoutTimesThereIsNoTable) {
  Result a = three_rows();
  for (Row& row : a.rows) row.time_us.reset();
  const string text = to_text(compare(a, a));
  EXPECT_THAT(text, Not(HasSubstr("problem ")));
  EXPECT_THAT(text, Not(HasSubstr("geometric mean")));
  EXPECT_THAT(text, HasSubstr("3 not compared\n"));
}

TEST(CompareText, EscapesOfATerminalAreNotPassedOn) {
  Result a = three_rows();
  a.workload = "x\x1b[2J\nFAKE";
  a.rows[0].name = "a\x1b]0;title\nFAKE";
  a.rows[1].device = "b\x07\nFAKE";
  Result b = a;
  b.warnings = {"\xc2\x9b gone\nFAKE"};
  fake::skip(&b.rows[0], "\x1b[2J\nFAKE");
  const string text = to_text(compare(a, b));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\x07")));
  EXPECT_THAT(text, Not(HasSubstr("\xc2\x9b")));
  EXPECT_THAT(text, Not(HasSubstr("\nFAKE")));
}

TEST(CompareJson, HasWhatTheTextSays) {
  const auto json = nlohmann::json::parse(to_json(rich()));
  EXPECT_EQ(json.at("tolerance"), 0.03);
  EXPECT_EQ(json.at("regression"), true);
  EXPECT_EQ(json.at("a").at("metalconv"), "0.1.0");
  EXPECT_EQ(json.at("counts").at("FASTER"), 1);
  EXPECT_EQ(json.at("counts").at("not compared"), 2);
  ASSERT_EQ(json.at("rows").size(), 12u);
  const auto& failed = json.at("rows")[0];
  EXPECT_EQ(failed.at("change"), "FAILED");
  EXPECT_TRUE(failed.at("ratio").is_null());
  EXPECT_TRUE(failed.at("time_b_us").is_null());
  const auto& faster = json.at("rows")[1];
  EXPECT_EQ(faster.at("problem"), "1x3x600x800,k64,3x3,s1,p1,d1,g1,f32,nchw");
  EXPECT_EQ(faster.at("kernel_a"), "direct");
  EXPECT_EQ(faster.at("kernel_b"), "winograd_row");
  EXPECT_EQ(faster.at("change"), "FASTER");
  EXPECT_LE(faster.at("ratio").at("low"), faster.at("ratio").at("median"));
  EXPECT_NEAR(faster.at("time_a_us").get<double>() / faster.at("time_b_us").get<double>(),
              faster.at("ratio").at("median").get<double>(), 1e-9);
  EXPECT_EQ(json.at("rows")[11].at("reason"), "only in A");
  EXPECT_EQ(json.at("geometric_means")[0].at("implementation"), "basic");
  EXPECT_EQ(json.at("geometric_means")[0].at("rows"), 2);
}

}  // namespace
}  // namespace metalconv::bench
