// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "bench/files.h"
#include "bench/findings.h"
#include "bench/groups.h"
#include "bench/published.h"
#include "bench/table.h"
#include "bench/text.h"
#include "fake_result.h"
#include "metalconv/error.h"

namespace metalconv::bench {
namespace {

using std::string;

bool contains(const string& text, const string& part) { return text.find(part) != string::npos; }

/// All sentences of the findings, one a line.
string sentences(const Result& result) {
  const Findings found = find(result);
  string all = found.title + "\n" + found.headline + "\n";
  for (const Topic& topic : found.observations)
    for (const string& s : topic.sentences) all += s + "\n";
  for (const auto* list : {&found.conclusions, &found.next_steps})
    for (const string& s : *list) all += s + "\n";
  return all;
}

void replace(string* text, const string& from, const string& to) {
  const auto at = text->find(from);
  ASSERT_NE(at, string::npos) << from;
  text->replace(at, from.size(), to);
}

std::vector<Result> all_fakes() {
  Result nothing_timed = fake::baseline();
  for (Row& row : nothing_timed.rows) fake::skip(&row, "not timed here");
  Result all_failed = fake::baseline();
  for (Row& row : all_failed.rows) fake::fail(&row, "y[0,0,0,0] is 0, expected 1");
  Result no_vendor = fake::baseline();
  std::erase_if(no_vendor.rows,
                [](const Row& r) { return r.implementation == Implementation::vendor; });
  for (Row& row : no_vendor.rows) row.speedup_vs_vendor.reset();
  Result one = fake::baseline();
  one.workload = "custom";
  one.rows.resize(1);
  one.rows[0].speedup_vs_vendor.reset();
  Result two_devices = fake::baseline();
  for (const Row& row : fake::baseline().rows) {
    two_devices.rows.push_back(row);
    two_devices.rows.back().device = "cuda";
  }
  Result no_samples = fake::baseline();
  for (Row& row : no_samples.rows) row.samples_us.clear();
  Result no_roofs = fake::kernel_sizes();
  no_roofs.roofs.clear();
  for (Row& row : no_roofs.rows) row.roof_us = row.roofline_percent = 0;
  Result interrupted = fake::kernel_sizes();
  interrupted.interrupted = true;
  interrupted.rows.resize(3);
  return {fake::baseline(),
          fake::kernel_sizes(),
          fake::troubled(),
          fake::layers(),
          fake::empty("baseline"),
          nothing_timed,
          all_failed,
          no_vendor,
          one,
          two_devices,
          no_samples,
          no_roofs,
          interrupted};
}

// ---- JSON

TEST(Json, RoundTripGivesTheSameText) {
  for (const Result& result : all_fakes()) {
    const string text = to_json(result);
    EXPECT_EQ(to_json(from_json(text)), text);
  }
}

TEST(Json, RoundTripKeepsEveryField) {
  const Result before = fake::baseline(), after = from_json(to_json(before));
  ASSERT_EQ(after.rows.size(), before.rows.size());
  EXPECT_EQ(after.machine, before.machine);
  EXPECT_EQ(after.roofs.size(), before.roofs.size());
  EXPECT_EQ(after.roofs[0].working_set_bytes, before.roofs[0].working_set_bytes);
  const Row &a = before.rows[1], &b = after.rows[1];
  EXPECT_EQ(b.problem, a.problem);
  EXPECT_EQ(b.samples_us, a.samples_us);
  EXPECT_EQ(b.time_us->low, a.time_us->low);
  EXPECT_EQ(b.speedup_vs_vendor->high, a.speedup_vs_vendor->high);
  EXPECT_EQ(b.verification.checked, a.verification.checked);
  EXPECT_EQ(b.roof_us, a.roof_us);
}

TEST(Json, HasTheKeysThatToolsReadAndNoTimeForAFailedRow) {
  const string text = to_json(fake::troubled());
  for (const char* key :
       {"schema", "machine", "roofs", "results", "problem", "name", "device", "implementation",
        "kernel", "verdict", "time_us", "gflops", "roofline_percent", "speedup_vs_vendor"})
    EXPECT_TRUE(contains(text, "\"" + string(key) + "\"")) << key;
  const Result result = from_json(text);
  EXPECT_EQ(result.rows[1].verdict, Verdict::failed);
  EXPECT_FALSE(result.rows[1].time_us);
}

TEST(Json, NotANumberIsNull) {
  const string text = to_json(fake::troubled());
  EXPECT_FALSE(contains(text, ": nan"));
  EXPECT_TRUE(contains(text, "\"worst_ratio\": null"));
  EXPECT_TRUE(std::isnan(from_json(text).rows[1].verification.worst_ratio));
}

TEST(Json, TextThatIsNotUtf8IsReplacedNotRefused) {
  Result result = fake::baseline();
  result.machine.emplace_back("gpu", "bad \xff byte");
  EXPECT_NO_THROW(from_json(to_json(result)));
}

/// What from_json says about `text`; empty when it accepts it.
string complaint(const string& text) {
  try {
    from_json(text);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::io) << e.what();
    return e.what();
  }
  return {};
}

TEST(Json, DamageIsNamed) {
  const string good = to_json(fake::baseline());
  const auto damaged = [&](const string& from, const string& to) {
    string text = good;
    replace(&text, from, to);
    return complaint(text);
  };
  EXPECT_TRUE(contains(damaged("\"schema\": 1", "\"schema\": 2"), "schema is 2"));
  EXPECT_TRUE(contains(damaged("\"schema\": 1", "\"schema\": \"1\""), "schema is \"1\""));
  EXPECT_TRUE(contains(damaged("\"schema\": 1", "\"schema\": 99999999999999999999"), "schema"));
  EXPECT_TRUE(contains(damaged("\"kernel\"", "\"colonel\""), "results[0].kernel is missing"));
  EXPECT_TRUE(contains(damaged("k64", "k-64"), "results[0].problem"));
  EXPECT_TRUE(contains(damaged("\"basic\",\n   \"kernel\"", "\"base\",\n   \"kernel\""),
                       "results[0].implementation"));
  EXPECT_TRUE(contains(damaged("\"verdict\": \"ok\"", "\"verdict\": \"fine\""), "fine"));
  EXPECT_TRUE(contains(damaged("\"verdict\": \"ok\"", "\"verdict\": \"failed\""),
                       "only ok rows have a time"));
  EXPECT_TRUE(contains(damaged("\"median\": ", "\"median\": -"), "above 0"));
  EXPECT_TRUE(contains(damaged("\"low\": ", "\"low\": 9"), "does not hold"));
}

TEST(Json, HostileTextIsRefused) {
  EXPECT_TRUE(contains(complaint(""), "parse error"));
  EXPECT_TRUE(contains(complaint("[]"), "must be an object"));
  EXPECT_TRUE(contains(complaint("null"), "must be an object"));
  EXPECT_FALSE(complaint(string(200000, '[')).empty());
  EXPECT_FALSE(complaint(string(100000, '[') + string(100000, ']')).empty());
  const string good = to_json(fake::baseline());
  for (std::size_t length = 0; length < good.size() - 2; length += 97)
    EXPECT_FALSE(complaint(good.substr(0, length)).empty()) << length;
}

TEST(Json, FlippedBytesNeverGetPastAnError) {
  const string good = to_json(fake::kernel_sizes());
  for (std::size_t i = 0; i < good.size(); i += 211) {
    string bad = good;
    bad[i] = char(bad[i] ^ (1 << (i % 8)));
    try {
      to_html(from_json(bad));
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::io);
    }
  }
}

// ---- findings

TEST(Findings, FasterEverywhereIsSaidOnlyWhenAllIntervalsAreAboveOne) {
  EXPECT_TRUE(contains(sentences(fake::baseline()),
                       "Optimized is faster than onednn-3.2.0 at every resolution"));
  Result level = fake::baseline();
  level.rows[5] = fake::ok_row("1024x768", "1x3x768x1024,k64,3x3,p1",
                               {Implementation::optimized, "direct", 2.95});
  fake::compare(&level);
  const string text = sentences(level);
  EXPECT_FALSE(contains(text, "faster than onednn-3.2.0 at every resolution"));
  EXPECT_TRUE(contains(text, "faster than onednn-3.2.0 on 2 of 3"));
  EXPECT_TRUE(contains(text, "indistinguishable on 1024x768"));
}

TEST(Findings, MixedSweepNamesEachPart) {
  const string text = sentences(fake::kernel_sizes());
  EXPECT_TRUE(contains(text, "faster than onednn-2.6.3 on 3 of 5"));
  EXPECT_TRUE(contains(text, "slower than onednn-2.6.3 on 1 of 5"));
  EXPECT_TRUE(contains(text, "Choose onednn-2.6.3 for 1x1"));
  EXPECT_TRUE(contains(text, "equally good for 3x3"));
  EXPECT_TRUE(contains(text, "Close the gap to onednn-2.6.3"));
  EXPECT_TRUE(contains(text, "the operations 121x"));
}

TEST(Findings, FailedAndSkippedRowsAreNamedAndHaveNoTime) {
  const Result result = fake::troubled();
  const string text = sentences(result);
  EXPECT_TRUE(contains(text, "FAILED, and not timed: optimized on 800x600"));
  EXPECT_TRUE(contains(text, "Skipped: onednn-2.6.3 on 800x600"));
  EXPECT_TRUE(contains(text, "Do not use what failed verification: optimized on 800x600"));
  EXPECT_TRUE(contains(text, "metalconv verify '1x3x600x800"));
  EXPECT_TRUE(contains(text, "an error in our counting"));
  EXPECT_FALSE(contains(text, "at every resolution: it is the fastest"));
}

TEST(Findings, TimesAboveARoofWinNothing) {
  Result result = fake::baseline();
  for (Row& row : result.rows) row.above_roof = row.implementation == Implementation::optimized;
  const string text = sentences(result);
  EXPECT_FALSE(contains(text, "Choose optimized"));
  EXPECT_TRUE(contains(text, "Do not rely on times above a roof"));
}

TEST(Findings, NoVendorIsSaidWithARemedy) {
  Result result = fake::baseline();
  std::erase_if(result.rows,
                [](const Row& r) { return r.implementation == Implementation::vendor; });
  for (Row& row : result.rows) row.speedup_vs_vendor.reset();
  const string text = sentences(result);
  EXPECT_TRUE(contains(text, "no comparison with the vendor: no vendor ran on cpu"));
  EXPECT_TRUE(contains(text, "nstall oneDNN"));
  EXPECT_FALSE(contains(text, "as fast as"));
}

TEST(Findings, OneRowHasNothingToChoose) {
  Result result = fake::baseline();
  result.rows.erase(result.rows.begin() + 2, result.rows.end());
  result.rows.erase(result.rows.begin());
  const string text = sentences(result);
  EXPECT_TRUE(contains(text, "nothing to choose between"));
  EXPECT_FALSE(contains(text, "every resolution"));
}

TEST(Findings, TitleSaysWorkloadDeviceAndMode) {
  Result result = fake::baseline();
  EXPECT_EQ(find(result).title, "baseline on cpu, warm");
  result.mode = "cold";
  EXPECT_EQ(find(result).title, "baseline on cpu, cold");
  EXPECT_TRUE(contains(sentences(result), "this run is cold"));
}

TEST(Findings, NextStepsLeaveOutWhatWasRun) {
  Result result = fake::baseline();
  result.workload = "baseline+channels";
  const string text = sentences(result);
  EXPECT_FALSE(contains(text, "channels,"));
  EXPECT_TRUE(contains(text, "kernel-sizes, batches"));
}

TEST(Axis, IsFoundFromTheProblems) {
  EXPECT_EQ(axis_of(groups_of(fake::baseline())).kind, Axis::Kind::resolution);
  EXPECT_EQ(axis_of(groups_of(fake::kernel_sizes())).kind, Axis::Kind::kernel);
  EXPECT_EQ(axis_of(groups_of(fake::layers())).kind, Axis::Kind::none);
  EXPECT_EQ(axis_of(groups_of(fake::empty("custom"))).kind, Axis::Kind::none);
}

// ---- reports

TEST(Report, EveryShapeOfRunGivesEveryReport) {
  for (const Result& result : all_fakes()) {
    const string markdown = to_markdown(result), html = to_html(result);
    for (const char* section : {"## Test configuration", "## Results", "## Key observations",
                                "## Conclusions", "## Next steps"})
      EXPECT_TRUE(contains(markdown, section)) << section;
    EXPECT_LT(html.size(), 300u * 1000);
    for (const string* text : {&markdown, &html}) {
      EXPECT_FALSE(contains(*text, ">nan")) << result.workload;
      EXPECT_FALSE(contains(*text, "\"nan")) << result.workload;
      EXPECT_FALSE(contains(*text, "=\"inf")) << result.workload;
      EXPECT_FALSE(contains(*text, "-inf")) << result.workload;
    }
    EXPECT_FALSE(terminal_summary(result).empty());
  }
}

TEST(Report, HtmlIsOneFileAndEscapes) {
  const string html = to_html(fake::troubled());
  EXPECT_FALSE(contains(html, "<script>alert"));
  EXPECT_TRUE(contains(html, "&lt;script&gt;alert(&#39;x&#39;)"));
  for (const char* outside : {"http://", "https://", "src=", "@import", "url("})
    EXPECT_FALSE(contains(html, outside)) << outside;
  const string markdown = to_markdown(fake::troubled());
  EXPECT_FALSE(contains(markdown, "<script>"));
}

TEST(Report, PublishedNumbersAreLabelledAndOptional) {
  const Result result = fake::baseline();
  const string with = to_markdown(result, {true}), without = to_markdown(result, {false});
  EXPECT_TRUE(contains(with, "12.59"));
  EXPECT_TRUE(contains(with, "unverified"));
  EXPECT_TRUE(contains(with, "Apple M1 Pro"));
  EXPECT_FALSE(contains(without, "M1 Pro"));
  EXPECT_FALSE(has_published(fake::layers()));
}

/// The lines of `text` inside its code blocks that hold charts.
std::vector<string> chart_lines(const string& markdown) {
  std::vector<string> lines;
  std::istringstream in(markdown);
  bool inside = false;
  for (string line; std::getline(in, line);)
    if (line.rfind("```", 0) == 0)
      inside = line == "```text";
    else if (inside)
      lines.push_back(line);
  return lines;
}

TEST(Report, BarsAreProportionalAndFitEightyColumns) {
  const auto lines = chart_lines(to_markdown(fake::baseline()));
  ASSERT_FALSE(lines.empty());
  for (const string& line : lines) EXPECT_LE(columns(line), 80u) << line;
  for (const Result& result : all_fakes())
    for (const string& line : chart_lines(to_markdown(result)))
      EXPECT_LE(columns(line), 80u) << line;
}

TEST(Report, FailedRowsShowReasonAndReproducerButNoBar) {
  const string markdown = to_markdown(fake::troubled());
  EXPECT_TRUE(contains(markdown, "expected 1.25"));
  EXPECT_TRUE(contains(markdown, "--only direct"));
  bool seen = false;
  for (const string& line : chart_lines(markdown))
    if (contains(line, "FAILED")) {
      seen = true;
      EXPECT_FALSE(contains(line, "█"));
    }
  EXPECT_TRUE(seen);
}

// ---- terminal

TEST(Terminal, TableFitsEightyColumnsAndIsAscii) {
  for (const Result& result : all_fakes()) {
    const string text = to_text(summary_table(result));
    std::istringstream in(text);
    for (string line; std::getline(in, line);) {
      EXPECT_LE(line.size(), 80u) << line;
      EXPECT_TRUE(
          std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c < 127; }));
    }
  }
}

TEST(Terminal, LongNamesAreShortenedFiguresNever) {
  Result result = fake::baseline();
  for (Row& row : result.rows) row.name = to_text(row.problem) + ",of a very long name indeed";
  const string text = to_text(summary_table(result));
  EXPECT_TRUE(contains(text, ".."));
  EXPECT_TRUE(contains(text, "4.322"));
  EXPECT_TRUE(contains(text, "2.54x"));
}

TEST(Terminal, EscapesOfATerminalAreNotPassedOn) {
  Result result = fake::troubled();
  result.rows[1].reason = "\x1b[2J\x07 gone \xc2\x9b";
  result.rows[0].name = "a\x1b]0;title";
  const string text = terminal_summary(result);
  EXPECT_FALSE(contains(text, "\x1b"));
  EXPECT_FALSE(contains(text, "\x07"));
  EXPECT_FALSE(contains(text, "\xc2\x9b"));
}

TEST(Text, NumbersKeepTheirDigits) {
  EXPECT_EQ(significant(9.996, 3), "10.0");
  EXPECT_EQ(significant(0.0240, 3), "0.0240");
  EXPECT_EQ(significant(12591, 4), "12590");
  EXPECT_EQ(significant(std::nan(""), 3), "-");
  EXPECT_EQ(short_number(5.0, 3), "5");
  EXPECT_EQ(time_text(643.04), "643.0 us");
  EXPECT_EQ(time_text(12591), "12.59 ms");
  EXPECT_EQ(factor_text(2.414), "2.41x");
  EXPECT_EQ(factor_text(0.9987), "0.9987x");
  EXPECT_EQ(percent_range(82.1, 89.8), "82 to 90 %");
  EXPECT_EQ(list_text({"a", "b", "c"}), "a, b and c");
  EXPECT_EQ(shorten("abcdefgh", 5), "abc..");
}

// ---- files

class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("metalconv-files-test-" + std::to_string(::getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  string in(const char* name) const { return (folder_ / name).string(); }
  std::size_t count() const {
    return std::size_t(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::filesystem::path folder_;
};

TEST_F(Files, WritesReplacesAndLeavesNothingBeside) {
  write_file(in("a.md"), "one");
  write_file(in("a.md"), "two");
  EXPECT_EQ(read_file(in("a.md")), "two");
  EXPECT_EQ(count(), 1u);
}

TEST_F(Files, KeepsASymbolicLink) {
  write_file(in("real"), "one");
  std::filesystem::create_symlink(in("real"), in("link"));
  write_file(in("link"), "two");
  EXPECT_TRUE(std::filesystem::is_symlink(in("link")));
  EXPECT_EQ(read_file(in("real")), "two");
}

TEST_F(Files, ErrorsNameThePath) {
  for (const string& path : {in("no/such/folder.md"), folder_.string()}) {
    try {
      write_file(path, "text");
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::io);
      EXPECT_TRUE(contains(e.what(), path)) << e.what();
    }
  }
  EXPECT_THROW(read_file(in("missing")), Error);
  EXPECT_THROW(read_file(folder_.string()), Error);
}

TEST_F(Files, WritesToADeviceInPlace) { EXPECT_NO_THROW(write_file("/dev/null", "text")); }

}  // namespace
}  // namespace metalconv::bench
