// SPDX-License-Identifier: Apache-2.0
// The legality check, tested by pairs: each file in tests/legality/ is two texts. Lines that end in
// "// legal" are only in the legal twin, those with "// illegal" only in the illegal one, which
// must be rejected first of all at the line marked "// illegal: RULE" or "// rejected: RULE", by
// RULE.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "legality/checker.h"
#include "msl/msl.h"

namespace metalconv::legality {
namespace {

namespace fs = std::filesystem;

struct Pair {
  std::string legal, illegal;
  std::string rule;
  int line = 0;
};

// Lines that a twin lacks are left empty, so that both count alike.
Pair read_pair(const fs::path& path) {
  static const std::regex kMark("(.*)// (legal|illegal|rejected)(: ([\\w-]+))?");
  Pair pair;
  std::ifstream in(path);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::smatch mark;
    const bool marked = std::regex_match(line, mark, kMark);
    const std::string kind = marked ? mark[2].str() : "rejected";
    if (kind != "illegal") pair.legal += line;
    if (kind != "legal") pair.illegal += line;
    pair.legal += '\n';
    pair.illegal += '\n';
    if (marked && mark[4].matched) {
      pair.rule = mark[4];
      pair.line = number;
    }
  }
  return pair;
}

std::vector<std::string> pair_files() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(METALCONV_LEGALITY_FOLDER)) {
    if (entry.path().extension() == ".metal") out.push_back(entry.path().stem().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string describe(const std::vector<Finding>& findings) {
  std::ostringstream out;
  for (const Finding& f : findings) {
    out << f.file << ":" << f.line << ": [" << f.rule << "] " << f.message << "\n";
  }
  return out.str();
}

class LegalityPairs : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (find_clang().empty()) GTEST_SKIP() << "no clang++ 16 or newer: legality is not checked";
  }
  const std::string file_ = "legality/" + GetParam() + ".metal";
  const Pair pair_ = read_pair(fs::path(METALCONV_LEGALITY_FOLDER) / (GetParam() + ".metal"));
};

TEST_P(LegalityPairs, TheIllegalTextIsRejectedByItsRuleAtItsLine) {
  const auto findings = Checker(find_clang()).check(pair_.illegal, file_);
  ASSERT_FALSE(findings.empty()) << "accepted";
  EXPECT_EQ(findings[0].rule, pair_.rule) << describe(findings);
  EXPECT_EQ(findings[0].line, pair_.line) << describe(findings);
  EXPECT_EQ(findings[0].file, file_);
}

TEST_P(LegalityPairs, TheLegalTwinIsAccepted) {
  const auto findings = Checker(find_clang()).check(pair_.legal, file_);
  EXPECT_TRUE(findings.empty()) << describe(findings);
}

INSTANTIATE_TEST_SUITE_P(All, LegalityPairs, testing::ValuesIn(pair_files()),
                         [](const auto& pair) { return pair.param; });

TEST(Legality, TheDialectTestIsLegalMetal) {
  if (find_clang().empty()) GTEST_SKIP() << "no clang++ 16 or newer";
  const std::string source = msl::load_source(METALCONV_DIALECT_FILE);
  const Checker checker(find_clang());
  for (const char* elem : {"float", "half", "bfloat"}) {
    const auto findings = checker.check(source, "msl_dialect.metal", {{"ELEM", elem}});
    EXPECT_TRUE(findings.empty()) << elem << "\n" << describe(findings);
  }
}

TEST(Legality, MacrosDecideWhatIsChecked) {
  if (find_clang().empty()) GTEST_SKIP() << "no clang++ 16 or newer";
  const std::string text =
      "#include <metal_stdlib>\nusing namespace metal;\n"
      "kernel void k(device T* x [[buffer(0)]]) {\n  x[0] = y;\n}\n";
  const Checker checker(find_clang());
  EXPECT_TRUE(checker.check(text, "k.metal", {{"T", "half"}, {"y", "half(1)"}}).empty());
  const auto findings = checker.check(text, "k.metal", {{"T", "half"}, {"y", "unknown"}});
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].rule, "unknown-name");
  EXPECT_EQ(findings[0].line, 4);
}

}  // namespace
}  // namespace metalconv::legality
