// SPDX-License-Identifier: Apache-2.0
// The metalconv command as a user sees it: files, words, exit statuses and signals.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/faults.h"
#include "bench/files.h"
#include "bench/json.h"
#include "bench/workloads.h"
#include "conv_cases.h"
#include "fake_result.h"
#include "metalconv/error.h"

extern char** environ;

namespace metalconv::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Words = std::vector<std::string>;
using bench::read_file;
using std::chrono::milliseconds;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

/// What became of one run of the command.
struct Outcome {
  int status = -1;  ///< exit status; minus the signal's number when one ended it
  std::string out, err;
  long peak_kib = 0;  ///< most memory at a time
};

/// A run of the command that may be interrupted.
class Child {
 public:
  /// Its output goes to files in `folder`.
  Child(const fs::path& folder, const Words& words)
      : out_((folder / "stdout").string()), err_((folder / "stderr").string()) {
    Words all{METALCONV_BINARY};
    all.insert(all.end(), words.begin(), words.end());
    std::vector<char*> argv;
    for (std::string& word : all) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_.c_str(), flags, 0600);
    const int failed = posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) throw std::runtime_error(fmt::format("{} does not start", all[0]));
  }

  void send(int signal_number) const { ::kill(pid_, signal_number); }

  Outcome wait() const {
    int status = 0;
    rusage usage{};
    ::wait4(pid_, &status, 0, &usage);
    return {WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status), read_file(out_),
            read_file(err_), usage.ru_maxrss};
  }

 private:
  std::string out_, err_;
  pid_t pid_ = 0;
};

class Command : public testing::Test {
 protected:
  Command() : folder_(testing::TempDir() + "metalconv_command_test_" + std::to_string(getpid())) {
    fs::create_directories(folder_);
    setenv("METALCONV_WISDOM", "off", 1);  // what the user has tuned is no part of a test
  }
  ~Command() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// The rows of a report.
  Json results(const std::string& name) const {
    return Json::parse(read_file(path(name))).at("results");
  }

  Outcome run(const Words& words) const { return Child(folder_, words).wait(); }
  /// On the cpu with our own kernels: the same on every machine.
  Outcome run_cpu(Words words) const {
    words.insert(words.end(), {"--device", "cpu", "--no-vendor"});
    return run(words);
  }

  fs::path folder_;
};

// ---- bench

class Bench : public Command {
 protected:
  const Words tiny_{"bench", "1x3x12x13,k4,3x3,p1", "2x4x8x9,k6,1x1,nhwc,bias,relu", "--budget",
                    "0.02"};
};

TEST_F(Bench, WritesEveryFormat) {
  Words words = tiny_;
  words.insert(words.end(), {"--output", path("reports/deep"), "--json", path("a.json"),
                             "--markdown", path("a.md"), "--html", path("a.html")});
  const Outcome outcome = run_cpu(words);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("4 ok, 0 failed, 0 skipped"));
  for (const char* name : {"a.json", "a.md", "a.html", "reports/deep/report.json",
                           "reports/deep/report.md", "reports/deep/report.html"}) {
    EXPECT_THAT(outcome.out, HasSubstr("wrote " + path(name)));
    EXPECT_GT(fs::file_size(path(name)), 500u) << name;
  }
  EXPECT_EQ(read_file(path("a.json")), read_file(path("reports/deep/report.json")));
  EXPECT_THAT(read_file(path("a.md")), HasSubstr("1x3x12x13,k4,3x3"));
  EXPECT_THAT(read_file(path("a.html")), HasSubstr("</html>"));
}

TEST_F(Bench, JsonHasTheFieldsThatOthersRead) {
  Words words = tiny_;
  words.insert(words.end(), {"--json", path("a.json")});
  ASSERT_EQ(run_cpu(words).status, 0);
  const Json json = Json::parse(read_file(path("a.json")));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("mode"), "warm");
  EXPECT_EQ(json.at("interrupted"), false);
  EXPECT_GT(json.at("seconds"), 0);
  EXPECT_THAT(json.at("command").get<std::string>(),
              HasSubstr("metalconv bench 1x3x12x13,k4,3x3,p1 2x4x8x9"));
  EXPECT_FALSE(json.at("machine").empty());
  std::set<std::string> roofs;
  for (const Json& roof : json.at("roofs")) {
    EXPECT_GT(roof.at("rate"), 0) << roof;
    EXPECT_GE(roof.at("samples").size(), 3u) << roof;
    roofs.insert(roof.at("name"));
  }
  EXPECT_EQ(roofs, (std::set<std::string>{"write", "read", "copy", "fma"}));
  ASSERT_EQ(json.at("results").size(), 4u);
  for (const Json& row : json.at("results")) {
    SCOPED_TRACE(row.dump());
    EXPECT_NO_THROW(parse_problem(row.at("problem").get<std::string>()));
    EXPECT_EQ(row.at("name"), row.at("problem"));
    EXPECT_EQ(row.at("device"), "cpu");
    EXPECT_THAT(row.at("implementation"), testing::AnyOf("basic", "optimized"));
    EXPECT_FALSE(row.at("kernel").get<std::string>().empty());
    EXPECT_EQ(row.at("verdict"), "ok");
    EXPECT_EQ(row.at("verification").at("coverage"), "every output");
    const Json& time = row.at("time_us");
    EXPECT_GT(time.at("low"), 0);
    EXPECT_LE(time.at("low"), time.at("median"));
    EXPECT_LE(time.at("median"), time.at("high"));
    EXPECT_GE(row.at("samples_us").size(), 3u);
    EXPECT_GT(row.at("gflops"), 0);
    EXPECT_GT(row.at("roofline_percent"), 0);
    EXPECT_THAT(row.at("bound_by"), testing::AnyOf("compute", "memory"));
    EXPECT_TRUE(row.at("speedup_vs_vendor").is_null()) << "no vendor ran";
  }
}

TEST_F(Bench, ReportIsMadeAgainFromTheJson) {
  Words words = tiny_;
  words.insert(words.end(), {"--json", path("a.json"), "--markdown", path("a.md")});
  ASSERT_EQ(run_cpu(words).status, 0);
  const Outcome again = run({"report", path("a.json")});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(again.out, read_file(path("a.md")));
}

TEST_F(Bench, SkipsWhatDoesNotFitBeforeItAllocates) {
  const Outcome outcome = run_cpu({"verify", "1x64x100000x100000,k64,3x3", "1x3x8x8,k4,3x3"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("it needs 9536.6 GiB, but "));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("[1-9] ok, 0 failed, [1-9]+ skipped"));
  EXPECT_LT(outcome.peak_kib, 1 << 20) << "a small part of that is too much";
}

// ---- compare

/// On made-up results: the words and the exit status, not the machine, are tested here.
class CompareFiles : public Command {
 protected:
  void put(const std::string& name, const bench::Result& result) const {
    bench::write_file(path(name), bench::to_json(result));
  }
  Outcome compare(const Words& options = {}) const {
    Words words{"compare", path("a.json"), path("b.json")};
    words.insert(words.end(), options.begin(), options.end());
    return run(words);
  }

  bench::Result b_ = bench::fake::baseline();
};

TEST_F(CompareFiles, ExitsWith0WithoutARegression) {
  put("a.json", b_);
  bench::fake::time(&b_.rows[1], b_.rows[1].time_us->median / 2);
  put("b.json", b_);
  const Outcome outcome = compare({"--json", path("c.json")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("1 FASTER, 0 SLOWER, 11 SAME"));
  EXPECT_THAT(outcome.out, HasSubstr("wrote " + path("c.json")));
  const Json json = Json::parse(read_file(path("c.json")));
  EXPECT_EQ(json.at("counts").at("FASTER"), 1);
  EXPECT_EQ(json.at("regression"), false);
}

TEST_F(CompareFiles, ExitsWith3ForASlowerRow) {
  put("a.json", b_);
  bench::fake::time(&b_.rows[1], b_.rows[1].time_us->median * 1.1);
  put("b.json", b_);
  const Outcome outcome = compare({"--json", path("c.json")});
  EXPECT_EQ(outcome.status, 3) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1 SLOWER"));
  EXPECT_EQ(Json::parse(read_file(path("c.json"))).at("regression"), true);
  EXPECT_EQ(compare({"--tolerance", "0.2"}).status, 0);
}

TEST_F(CompareFiles, ExitsWith3ForAFailedRow) {
  put("a.json", b_);
  bench::fake::fail(&b_.rows[0], "y[0,0,0,0] is nan, expected 1");
  put("b.json", b_);
  const Outcome outcome = compare();
  EXPECT_EQ(outcome.status, 3) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("FAILED 800x600 cpu basic: y[0,0,0,0] is nan, expected 1"));
}

TEST_F(CompareFiles, ExitsWith2ForBadFilesAndOptions) {
  put("a.json", b_);
  EXPECT_EQ(run({"compare", path("a.json")}).status, 2);
  EXPECT_THAT(compare().err, HasSubstr("cannot read " + path("b.json")));

  Json json = Json::parse(bench::to_json(b_));
  json.at("results")[1].at("samples_us")[0] = nullptr;
  bench::write_file(path("b.json"), json.dump());
  const Outcome outcome = compare();
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("metalconv: " + path("b.json") +
                                     ": result JSON: results[1].samples_us[0] is null"));

  for (bench::Row& row : b_.rows) row.device = "cuda";
  put("b.json", b_);
  EXPECT_EQ(compare().status, 2);
  EXPECT_THAT(compare().err, HasSubstr("nothing can be compared"));

  put("b.json", bench::fake::baseline());
  for (const char* tolerance : {"nan", "-0.1", "1", "wide"}) {
    const Outcome refused = compare({"--tolerance", tolerance});
    EXPECT_EQ(refused.status, 2) << tolerance;
    EXPECT_THAT(refused.err, HasSubstr("tolerance")) << tolerance;
  }
}

// ---- verify

TEST_F(Command, VerifyChecksEveryKernel) {
  const Outcome outcome = run_cpu({"verify", "1x3x12x13,k4,3x3,p1", "--json", path("a.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::set<std::string> seen, expected;
  for (const Json& row : results("a.json")) {
    seen.insert(row.at("kernel"));
    EXPECT_TRUE(row.at("time_us").is_null()) << "verify times nothing";
  }
  const auto device = make_cpu_device({0, "", false});
  for (const KernelRow* row : our_rows(*device))
    if (row->refusal(parse_problem("1x3x12x13,k4,3x3,p1")).empty()) expected.insert(row->name);
  EXPECT_EQ(seen, expected);
}

/// `verify` and `bench` alike: FAILED with a reproducer, no time anywhere, exit status 1.
TEST_F(Command, EveryFaultIsFailedAndNeverTimed) {
  const std::string problem = to_text(bench::fault_problem());
  for (const bench::Fault& fault : bench::faults())
    for (const char* command : {"verify", "bench"}) {
      SCOPED_TRACE(fmt::format("{} --inject {}", command, fault.name));
      Words words{command, problem, "--inject", fault.name, "--json", path("a.json")};
      if (command == std::string("bench")) words.insert(words.end(), {"--budget", "0.02"});
      const Outcome outcome = run_cpu(words);
      EXPECT_EQ(outcome.status, 1) << outcome.err;
      EXPECT_THAT(outcome.out, HasSubstr("FAILED"));
      EXPECT_THAT(outcome.out, HasSubstr("again: metalconv verify '" + problem + "'"));
      EXPECT_THAT(outcome.out, HasSubstr("--inject " + fault.name));
      int failed = 0;
      for (const Json& row : results("a.json")) {
        if (row.at("implementation") != "optimized") continue;
        ++failed;
        EXPECT_EQ(row.at("verdict"), "failed") << row;
        EXPECT_FALSE(row.at("reason").get<std::string>().empty());
        for (const char* key :
             {"time_us", "samples_us", "gflops", "roofline_percent", "speedup_vs_vendor"})
          EXPECT_TRUE(row.at(key).is_null()) << key << " " << row;
      }
      EXPECT_GE(failed, 1);
    }
}

TEST_F(Command, AReproducerRepeatsTheFailure) {
  const Outcome first = run_cpu({"verify", "--inject", "nan", "--threads", "1"});
  const auto at = first.out.find("again: metalconv ");
  ASSERT_NE(at, std::string::npos) << first.out;
  std::string line = first.out.substr(at + 17, first.out.find('\n', at) - at - 17);
  EXPECT_THAT(line, HasSubstr("--threads 1"));
  std::erase(line, '\'');  // what a shell would do
  Words words;
  for (std::size_t begin = 0; begin < line.size();) {
    const auto end = std::min(line.find(' ', begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  const Outcome again = run(words);
  EXPECT_EQ(again.status, 1) << again.err;
  EXPECT_THAT(again.out, HasSubstr("0 ok, 1 failed, 0 skipped"));
}

TEST_F(Command, AFaultThatShowsNothingIsAUsageError) {
  const Outcome outcome = run_cpu({"verify", "0x3x8x8,k4,3x3", "--inject", "nan"});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err,
            "metalconv: the fault nan would change nothing in "
            "0x3x8x8,k4,3x3,s1,p0,d1,g1,f32,nchw: its output is empty\n");
}

TEST_F(Command, AnEmptyBatchIsVerifiedAndHasNoTime) {
  const Outcome outcome =
      run_cpu({"bench", "0x3x8x8,k4,3x3,p1", "--budget", "0.02", "--json", path("a.json")});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const Json& row : results("a.json")) {
    EXPECT_EQ(row.at("verdict"), "ok") << row;
    EXPECT_TRUE(row.at("time_us").is_null()) << row;
  }
}

// ---- usage

TEST_F(Command, UsageErrorsAreSentencesAndExit2) {
  const std::pair<Words, std::string> bad[] = {
      {{}, "A subcommand is required"},
      {{"bench", "--nope"}, "--nope"},
      {{"bench", "nope"}, "'nope' is neither a workload (baseline, "},
      {{"verify", "1x3x8x8,k4"}, "must begin with NxCxHxW,kK,RxS, as in 1x3x600x800,k64,3x3"},
      {{"verify", "1x3x8x8,k4,3x3,s0"}, "stride_h is 0, but must be at least 1"},
      {{"verify", "1x3x8x8,k4,3x3", "--kernel", "0"}, "kernel height R is 0"},
      {{"verify", "1x3x8x8,k4,3x3", "--dtype", "f8"}, "dtype is 'f8', but must be one of f32"},
      {{"verify", "1x3x8x8,k4,3x3", "--layout", "chwn"}, "layout is 'chwn', but must be one of"},
      {{"verify", "1x3x8x8,k4,3x3", "--implementation", "best"},
       "implementation is 'best', but must be one of basic, optimized, vendor"},
      {{"verify", "1x3x8x8,k4,3x3", "--only", "nope"}, "kernel is 'nope', but must be one of "},
      {{"verify", "--inject", "nope"}, "fault is 'nope', but must be one of zero-fill"},
      {{"verify", "--device", "abacus"}, "device is 'abacus', but must be one of auto, "},
      {{"verify", "--device", "cpu", "--isa", "z80"},
       "instruction set is 'z80', but this machine runs "},
      {{"bench", "--budget", "0"}, "--budget"},
      {{"bench", "--threads", "0"}, "--threads"},
      {{"explain"}, "problem is required"},
      {{"explain", "3x3"}, "must begin with NxCxHxW,kK,RxS"},
      {{"explain", "1x3x8x8,k4,3x3", "--no-wisdom", "--wisdom", "w.json"}, "--no-wisdom"},
      {{"tune"}, "there is no place for what is found: name a file with --wisdom"},
      {{"tune", "nope", "--wisdom", "/dev/null/w.json"}, "'nope' is neither a workload"},
      {{"tune", "1x3x8x8,k4,3x3", "--wisdom", "w.json", "--output", "s.json"}, "--wisdom"},
      {{"tune", "1x3x8x8,k4,3x3", "--device", "cpu,emulator", "--output", "s.json"},
       "--output is for one device alone"},
      {{"tune", "1x3x8x8,k4,3x3", "--device", "cpu", "--wisdom", "/dev/null/w.json"},
       "the folder '/dev/null' cannot be made: "},
      {{"report", "/nope/a.json"}, "cannot read /nope/a.json: No such file or directory"},
      {{"verify", "1x3x8x8,k4,3x3", "--json", "/nope/a.json"},
       "cannot write /nope/a.json: No such file or directory"},
      {{"verify", "1x3x8x8,k4,3x3", "--output", "/dev/null/reports"},
       "the folder '/dev/null/reports' cannot be made: "},
      // Before an hour of measuring, not after.
      {{"bench", "resnet50", "--budget", "3600", "--html", "/nope/a.html"},
       "cannot write /nope/a.html: No such file or directory"},
  };
  for (const auto& [words, sentence] : bad) {
    const Outcome outcome = run(words);
    EXPECT_EQ(outcome.status, 2) << fmt::format("{}", fmt::join(words, " "));
    EXPECT_THAT(outcome.err, HasSubstr(sentence)) << fmt::format("{}", fmt::join(words, " "));
  }
}

TEST_F(Command, BrokenReportsAreRefusedByName) {
  bench::write_file(path("a.json"), "{\"schema\": 1, \"results\"");
  Outcome outcome = run({"report", path("a.json")});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("metalconv: "));
  bench::write_file(path("a.json"), "{}");
  outcome = run({"report", path("a.json")});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("schema"));
}

TEST_F(Command, ExplainSaysWhatRunsAndWhyNot) {
  const Outcome outcome = run({"explain", "1x3x60x80,k64,3x3,p1", "--device", "cpu"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("1x3x60x80,k64,3x3,s1,p1,d1,g1,f32,nchw\n"));
  EXPECT_THAT(outcome.out, HasSubstr("output 1x64x60x80, "));
  EXPECT_THAT(outcome.out, HasSubstr("CHOSEN"));
  EXPECT_THAT(outcome.out, HasSubstr("packed weights "));
  const ConvProblem p = parse_problem("1x3x60x80,k64,3x3,p1");
  const auto device = make_cpu_device({0, "", false});
  for (const KernelRow* row : our_rows(*device)) {
    EXPECT_THAT(outcome.out, HasSubstr(row->name));
    if (const std::string why = row->refusal(p); !why.empty()) {
      EXPECT_THAT(outcome.out, HasSubstr("no: " + why));
    }
  }
}

// ---- tune

class Tune : public Command {
 protected:
  Tune() {
    const Outcome outcome = run_cpu(
        {"tune", problem_, "--budget", "0.1", "--within", "1e9", "--wisdom", path("w.json")});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_THAT(outcome.out, HasSubstr("wrote 1 choice to " + path("w.json")));
    EXPECT_THAT(outcome.out, HasSubstr("gain"));
  }

  Json only_entry() const {
    const Json json = Json::parse(read_file(path("w.json")));
    EXPECT_EQ(json.at("entries").size(), 1u);
    return json.at("entries").at(0);
  }
  /// As if another kernel had won; its name.
  std::string make_another_win() const {
    Json json = Json::parse(read_file(path("w.json")));
    Json& entry = json.at("entries").at(0);
    for (const auto& [kernel, us] : entry.at("times_us").items())
      if (kernel != entry.at("kernel")) {
        entry.at("kernel") = kernel;
        break;
      }
    bench::write_file(path("w.json"), json.dump());
    return entry.at("kernel");
  }
  Outcome explain(const Words& more) const {
    Words words{"explain", problem_};
    words.insert(words.end(), more.begin(), more.end());
    return run_cpu(words);
  }

  const std::string problem_ = "1x3x12x13,k4,3x3,p1";
};

TEST_F(Tune, KeepsTheTimeOfEveryKernelOfOurs) {
  const Json entry = only_entry();
  EXPECT_EQ(entry.at("problem"), to_text(parse_problem(problem_)));
  EXPECT_THAT(entry.at("machine").get<std::string>(), testing::StartsWith("cpu, "));
  std::set<std::string> timed, expected;
  for (const auto& [kernel, us] : entry.at("times_us").items()) timed.insert(kernel);
  const auto device = make_cpu_device({0, "", false});
  for (const KernelRow* row : our_rows(*device))
    if (row->implementation == Implementation::optimized &&
        row->refusal(parse_problem(problem_)).empty())
      expected.insert(row->name);
  EXPECT_EQ(timed, expected);
}

TEST_F(Tune, ExplainShowsWhatWasMeasuredAndWhatChose) {
  const std::string winner = make_another_win();
  const Outcome wise = explain({"--wisdom", path("w.json")});
  EXPECT_EQ(wise.err, "");
  EXPECT_THAT(wise.out, testing::ContainsRegex(winner + " +CHOSEN by measurement, about [0-9.e-]+ "
                                                        "ms, measured [0-9.e-]+ ms\n"));
  EXPECT_THAT(wise.out, testing::ContainsRegex("applies, about [0-9.e-]+ ms, measured "));
  setenv("METALCONV_WISDOM", path("w.json").c_str(), 1);
  EXPECT_EQ(explain({}).out, wise.out);
  for (const Outcome& unwise : {explain({"--no-wisdom"}), explain({"--threads", "97"})}) {
    EXPECT_EQ(unwise.err, "");
    EXPECT_THAT(unwise.out, HasSubstr("CHOSEN by estimate, about "));
    EXPECT_THAT(unwise.out, Not(HasSubstr("measured")));
  }
}

TEST_F(Tune, BenchSaysThatWisdomChose) {
  const std::string winner = make_another_win();
  const auto bench = [&](const Words& more) {
    Words words{"bench",    problem_, "--implementation", "optimized",
                "--budget", "0.02",   "--json",           path("a.json")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(run_cpu(words).status, 0);
    return Json::parse(read_file(path("a.json")));
  };
  const Json wise = bench({"--wisdom", path("w.json")});
  ASSERT_EQ(wise.at("results").size(), 1u);
  EXPECT_EQ(wise.at("results").at(0).at("kernel"), winner);
  EXPECT_EQ(wise.at("machine").at("wisdom"),
            "1 of 1 optimized kernels were chosen by earlier measurement");
  EXPECT_FALSE(bench({"--no-wisdom"}).at("machine").contains("wisdom"));
  EXPECT_FALSE(
      bench({"--wisdom", path("w.json"), "--every-kernel"}).at("machine").contains("wisdom"));
}

TEST_F(Tune, AddsToWhatIsThere) {
  const std::string first = only_entry().dump();
  ASSERT_EQ(run_cpu({"tune", "1x3x8x8,k4,3x3", "--batch", "1,2", "--budget", "0.05", "--wisdom",
                     path("w.json")})
                .status,
            0);
  const Json entries = Json::parse(read_file(path("w.json"))).at("entries");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries.at(0).dump(), first);
}

TEST_F(Tune, WritesChoicesToShip) {
  EXPECT_THAT(run_cpu({"tune", problem_, "--budget", "0.05", "--output", path("s.json")}).out,
              HasSubstr("wrote 1 choice to " + path("s.json")));
  const Json json = Json::parse(read_file(path("s.json")));
  const auto device = make_cpu_device({0, "", false});
  EXPECT_EQ(json.at("entries").at(0).at("machine"), hardware_key(device->info()));
  const Json& seen = json.at("provenance");
  EXPECT_EQ(seen.at("device"), device->info().model);
  EXPECT_THAT(seen.at("date").get<std::string>(), testing::MatchesRegex("20..-..-.."));
  EXPECT_THAT(seen.at("command").get<std::string>(), HasSubstr("metalconv tune " + problem_));
  EXPECT_THAT(seen.at("noise").get<std::string>(), HasSubstr("% in the median"));
  EXPECT_THAT(seen.at("metalconv").get<std::string>(), HasSubstr("build"));
}

TEST_F(Tune, ADamagedFileIsIgnoredAndKept) {
  bench::write_file(path("w.json"), "{");
  const Outcome ignored = explain({"--wisdom", path("w.json")});
  EXPECT_EQ(ignored.status, 0);
  EXPECT_THAT(ignored.err,
              HasSubstr("metalconv: the wisdom file " + path("w.json") + " is ignored: "));
  EXPECT_THAT(ignored.out, HasSubstr("CHOSEN by estimate"));
  EXPECT_EQ(read_file(path("w.json")), "{");
  const Outcome tuned = run_cpu({"tune", problem_, "--budget", "0.05", "--wisdom", path("w.json")});
  EXPECT_EQ(tuned.status, 0);
  EXPECT_THAT(tuned.err, HasSubstr("it is kept as " + path("w.json") + ".damaged"));
  EXPECT_EQ(read_file(path("w.json.damaged")), "{");
  EXPECT_EQ(only_entry().at("problem"), to_text(parse_problem(problem_)));
}

TEST_F(Command, ANamedWisdomFileThatIsMissingIsAWarning) {
  const Outcome outcome = run_cpu({"explain", "1x3x8x8,k4,3x3", "--wisdom", path("none.json")});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "metalconv: there is no wisdom file " + path("none.json") + "\n");
}

TEST_F(Command, ListNamesWorkloadsKernelsAndFaults) {
  const Outcome outcome = run({"list"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* name : {"baseline", "kernel-sizes", "channels", "batches", "resnet50",
                           "mobilenet-v2", "cpu-classes", "verification"})
    EXPECT_THAT(outcome.out, HasSubstr(name));
  for (const bench::Fault& f : bench::faults()) EXPECT_THAT(outcome.out, HasSubstr(f.name));
  const auto device = make_cpu_device({0, "", false});
  for (const KernelRow* row : our_rows(*device)) EXPECT_THAT(outcome.out, HasSubstr(row->name));
}

TEST_F(Command, ListOfAWorkloadHasTheTextsOfItsProblems) {
  for (const bench::Workload& w : bench::workloads()) {
    const Outcome outcome = run({"list", w.name});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    for (const bench::Case& c : w.cases)
      EXPECT_THAT(outcome.out, HasSubstr(" " + to_text(c.problem) + "\n")) << w.name;
  }
  EXPECT_EQ(run({"list", "nope"}).status, 2);
}

TEST_F(Command, DevicesAndVersionAnswer) {
  const Outcome devices = run({"devices"});
  EXPECT_EQ(devices.status, 0) << devices.err;
  EXPECT_THAT(devices.out, HasSubstr("cpu "));
  EXPECT_THAT(devices.out, HasSubstr("instruction set: " + cpu_isas().front()));
  const Outcome version = run({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, testing::MatchesRegex("metalconv [0-9.]+.*\n"));
  for (const Words& words :
       {Words{"--help"}, Words{"bench", "--help"}, Words{"verify", "--help"}}) {
    const Outcome help = run(words);
    EXPECT_EQ(help.status, 0);
    EXPECT_EQ(help.err, "");
    EXPECT_THAT(help.out, Not(testing::IsEmpty()));
  }
}

TEST_F(Command, DoctorSaysWhatIsHereInEightyColumns) {
  const Outcome outcome = run({"doctor", "--no-vendor", "--json", path("doctor.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const Json json = Json::parse(read_file(path("doctor.json")));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_NE(json.at("device"), "");
  const std::string text = outcome.out.substr(0, outcome.out.rfind("wrote "));
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  for (const char* name : {"cpu", "cuda", "metal", "emulator", "wisdom", "threads", "spin"})
    EXPECT_THAT(text, HasSubstr(fmt::format(" {} ", name)));
}

TEST_F(Command, DoctorExitsWith2WhenNothingCanBeUsed) {
  // No cpu runs it, and the emulator alone is nothing to use.
  const Outcome outcome = run({"doctor", "--isa", "sse9"});
  if (outcome.status == 0) GTEST_SKIP() << "there is a GPU here";
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.out, HasSubstr("instruction set is 'sse9'"));
  EXPECT_THAT(outcome.out, HasSubstr("No device can be used."));
}

TEST_F(Command, APictureTooLargeForAnyMemoryIsRefusedWithoutIt) {
  // A JPEG's header alone: 65500 x 65500 pixels.
  const std::string jpeg(
      "\xFF\xD8\xFF\xC0\x00\x0B\x08\xFF\xDC\xFF\xDC\x01\x01\x11\x00"
      "\xFF\xDA\x00\x08\x01\x01\x00\x00\x3F\x00\xFF\xD9",
      27);
  bench::write_file(path("huge.jpg"), jpeg);
  const Outcome outcome = run_cpu({"image", path("huge.jpg"), path("out.png")});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, AnyOf(HasSubstr("has 65500 x 65500 pixels"), HasSubstr("no libjpeg")));
  EXPECT_LT(outcome.peak_kib, 200 << 10);
  EXPECT_FALSE(fs::exists(path("out.png")));
}

// ---- signals

/// Ctrl-C: what was completed is in the report, and the exit status says that it is a part.
TEST_F(Command, AnInterruptKeepsTheCompletedRows) {
  // 60 problems of 0.2 s. Long enough that some are done, on a slow machine a later try finds.
  for (milliseconds wait(1500); wait < milliseconds(60000); wait *= 2) {
    Words words{"bench",
                "1x3x12x13,k4,3x3,p1",
                "--budget",
                "0.2",
                "--width",
                "0.0001",
                "--samples",
                "100000",
                "--device",
                "cpu",
                "--no-vendor",
                "--json",
                path("a.json"),
                "--batch",
                "1"};
    for (int n = 2; n <= 60; ++n) words.back() += fmt::format(",{}", n);
    const Child child(folder_, words);
    std::this_thread::sleep_for(wait);
    child.send(SIGINT);
    const Outcome outcome = child.wait();
    ASSERT_EQ(outcome.status, 130) << outcome.err;
    const Json json = Json::parse(read_file(path("a.json")));
    EXPECT_EQ(json.at("interrupted"), true);
    EXPECT_LT(json.at("results").size(), 120u);
    if (json.at("results").empty()) continue;
    EXPECT_EQ(json.at("results").size() % 2, 0u) << "problems are whole";
    for (const Json& row : json.at("results")) {
      EXPECT_EQ(row.at("verdict"), "ok") << row;
      EXPECT_TRUE(row.at("time_us").is_object()) << row;
    }
    return;
  }
  FAIL() << "not one problem was completed in a minute";
}

/// Whoever is killed while it writes leaves the earlier file, or the whole new one.
TEST_F(Command, AKilledWriterLeavesFilesWhole) {
  const std::string old_text(5 << 20, 'o'), new_text(6 << 20, 'n');
  std::mt19937 random(1);
  for (int i = 0; i < 12; ++i) {
    bench::write_file(path("report.json"), old_text);
    const pid_t child = fork();
    if (child == 0) {
      for (;;) {
        bench::write_file(path("report.json"), new_text);
        bench::write_file(path("report.json"), old_text);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::string text = read_file(path("report.json"));
    EXPECT_TRUE(text == old_text || text == new_text) << "kill " << i;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name == "report.json" || name.starts_with("report.json.new-")) << name;
    }
  }
}

TEST_F(Command, AKilledRunLeavesReportsWhole) {
  const Words words{"verify", "1x3x12x13,k4,3x3,p1", "--output", path("r"), "--device",
                    "cpu",    "--no-vendor"};
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(run(words).status, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  std::mt19937 random(2);
  for (int i = 0; i < 12; ++i) {
    const Child child(folder_, words);
    // The files are written at the end.
    std::this_thread::sleep_for(whole / 2 + whole * (random() % 100) / 100);
    child.send(SIGKILL);
    child.wait();
    EXPECT_NO_THROW({ EXPECT_EQ(Json::parse(read_file(path("r/report.json"))).at("schema"), 1); })
        << "kill " << i;
    EXPECT_TRUE(read_file(path("r/report.html")).ends_with("</html>\n")) << "kill " << i;
    EXPECT_EQ(run({"report", path("r/report.json")}).status, 0) << "kill " << i;
    int reports = 0;
    for (const auto& entry : fs::directory_iterator(path("r")))
      reports += entry.path().extension() == ".json" ? 1 : 0;
    EXPECT_EQ(reports, 1);
  }
}

}  // namespace
}  // namespace metalconv::test
