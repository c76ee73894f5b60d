// SPDX-License-Identifier: Apache-2.0
// Measured choices: what is kept, what is read back, and what the planner makes of it.
#include "metalconv/wisdom.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <mutex>
#include <set>

#include "bench/tune.h"
#include "cli/commands.h"
#include "cli/ending.h"
#include "cli/machine.h"
#include "cli/wisdom_file.h"
#include "conv_cases.h"
#include "core/files.h"
#include "core/registry.h"
#include "expect_error.h"
#include "fake_result.h"
#include "metalconv/plan.h"

namespace metalconv::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kHead = "{\"format\": \"metalconv wisdom\", \"version\": 1, \"entries\": [";

WisdomEntry entry(const std::string& machine, const std::string& problem,
                  const std::string& kernel = "direct") {
  return {machine, problem, kernel, {{kernel, 12.3456789}, {"other", 1e6 / 3}}};
}

// ---- the value and its text

TEST(Wisdom, ComesBackFromItsText) {
  Wisdom wisdom;
  EXPECT_EQ(parse_wisdom(to_text(wisdom)).size(), 0u);
  wisdom.record(entry("cpu, \"A\" \\ chip", "1x3x8x8,k4,3x3"));
  wisdom.record(entry("cuda", "1x3x8x8,k4,3x3", "general"));
  const std::string text = to_text(wisdom);
  EXPECT_EQ(parse_wisdom(text).entries(), wisdom.entries());
  EXPECT_EQ(to_text(parse_wisdom(text)), text);
  EXPECT_THAT(text, StartsWith(kHead));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << "one line an entry: " << text;
}

TEST(Wisdom, ItsProvenanceComesBackToo) {
  Wisdom wisdom;
  wisdom.record(entry("m", "one"));
  wisdom.set_provenance({{"date", "2026-11-26"}, {"command", "tune \"x\""}});
  const Wisdom read = parse_wisdom(to_text(wisdom));
  EXPECT_EQ(read.provenance(), wisdom.provenance());
  EXPECT_EQ(read.entries(), wisdom.entries());
  EXPECT_EQ(to_text(read), to_text(wisdom));
}

TEST(Wisdom, ALaterMeasurementTakesTheEarlierOnesPlace) {
  Wisdom wisdom;
  wisdom.record(entry("m", "one"));
  wisdom.record(entry("m", "two"));
  wisdom.record(entry("m", "one", "general"));
  EXPECT_THAT(wisdom.entries(), ElementsAre(entry("m", "two"), entry("m", "one", "general")));
  wisdom.forget("m", "two");
  wisdom.forget("m", "three");
  EXPECT_THAT(wisdom.entries(), ElementsAre(entry("m", "one", "general")));
}

TEST(Wisdom, TheOldestGoFirst) {
  Wisdom wisdom;
  const auto name = [](std::size_t i) { return fmt::format("problem {}", i); };
  for (std::size_t i = 0; i < Wisdom::kMaxEntries; ++i) wisdom.record(entry("m", name(i)));
  wisdom.record(entry("m", name(0)));  // measured again: the newest
  for (std::size_t i = 0; i < 10; ++i) wisdom.record(entry("m", fmt::format("more {}", i)));
  ASSERT_EQ(wisdom.size(), Wisdom::kMaxEntries);
  const auto entries = wisdom.entries();
  EXPECT_EQ(entries.front().problem, name(11));
  EXPECT_EQ(entries[entries.size() - 11].problem, name(0));
  EXPECT_EQ(parse_wisdom(to_text(wisdom)).entries(), entries);
}

TEST(Wisdom, ItsTextIsNeverLongerThanWhatIsRead) {
  Wisdom wisdom;
  for (int i = 0; i < 100; ++i)
    wisdom.record(entry(std::string(50000, 'm'), fmt::format("problem {}", i)));
  const std::string text = to_text(wisdom);
  EXPECT_LE(text.size(), Wisdom::kMaxBytes);
  const auto entries = parse_wisdom(text).entries();
  EXPECT_GT(entries.size(), 80u);
  EXPECT_LT(entries.size(), 90u);
  EXPECT_EQ(entries.back().problem, "problem 99");
}

TEST(Wisdom, RefusesWhatIsNoMeasurement) {
  const auto refuses = [](const std::string& sentence, const WisdomEntry& e) {
    expect_error(ErrorCode::invalid_argument, sentence, [&] { Wisdom().record(e); });
  };
  refuses("machine is empty, but must be a device's machine_key", {"", "p", "k", {{"k", 1.0}}});
  refuses("problem is empty, but must be a problem's text", {"m", "", "k", {{"k", 1.0}}});
  refuses("kernel is 'k', but must be one that times_us has a time of", {"m", "p", "k", {}});
  for (double us : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                    std::numeric_limits<double>::quiet_NaN()})
    refuses(fmt::format("times_us has {} for 'k', but a time must be finite and above 0", us),
            {"m", "p", "k", {{"k", us}}});
}

TEST(Wisdom, RefusesDamagedTexts) {
  const std::string good = R"("machine": "m", "problem": "p", "kernel": "k")";
  const auto with = [](const std::string& e) { return kHead + e + "]}"; };
  ASSERT_EQ(parse_wisdom(with("{" + good + R"(, "times_us": {"k": 1}})")).size(), 1u);
  const std::pair<std::string, std::string> bad[] = {
      {"", "parse error"},
      {"nonsense", "parse error"},
      {"null", "the text is null, but must be an object"},
      {"[]", "the text is array, but must be an object"},
      {"{}", "the text has no 'format'"},
      {R"({"format": "FFTW"})", "its format is not 'metalconv wisdom'"},
      {R"({"format": 1})", "its format is not 'metalconv wisdom'"},
      {R"({"format": "metalconv wisdom"})", "the text has no 'version'"},
      {R"({"format": "metalconv wisdom", "version": "1"})", "version must be an integer"},
      {R"({"format": "metalconv wisdom", "version": 1.5})", "version must be an integer"},
      {R"({"format": "metalconv wisdom", "version": 2})",
       "version is 2, but this metalconv reads 1"},
      {R"({"format": "metalconv wisdom", "version": 0})",
       "version is 0, but this metalconv reads 1"},
      {R"({"format": "metalconv wisdom", "version": 1})", "the text has no 'entries'"},
      {R"({"format": "metalconv wisdom", "version": 1, "entries": {}})",
       "entries is object, but must be an array"},
      {with("3"), "entry 0 is number, but must be an object"},
      {with("{}"), "entry 0 has no 'machine'"},
      {with(R"({"machine": 1})"), "machine of entry 0 is number, but must be a string"},
      {with(R"({"machine": "m", "problem": null})"), "problem of entry 0 is null, but must be"},
      {with("{" + good + "}"), "entry 0 has no 'times_us'"},
      {with("{" + good + R"(, "times_us": [1]})"), "times_us of entry 0 is array, but must be"},
      {with("{" + good + R"(, "times_us": {"k": "1"}})"), "times_us of entry 0 has string for 'k'"},
      {with("{" + good + R"(, "times_us": {"k": -1}})"), "entry 0: times_us has -1 for 'k'"},
      {with("{" + good + R"(, "times_us": {"k": 1e999}})"), "number overflow"},
      {with("{" + good + R"(, "times_us": {"other": 1}})"), "entry 0: kernel is 'k', but must be"},
      {with("{" + good + ", \"times_us\": {\"\xff\": 1}}"), "invalid"},
      {R"({"format": "metalconv wisdom", "version": 1, "provenance": 1, "entries": []})",
       "provenance is number, but must be an object"},
      {R"({"format": "metalconv wisdom", "version": 1, "provenance": {"a": 1}, "entries": []})",
       "a of provenance is number, but must be a string"},
      {R"({"format": "metalconv wisdom", "version": 1, "provenance": {"a": ")" +
           std::string(65536, 'a') + R"("}, "entries": []})",
       "provenance has 65544 bytes, but may have at most 65536"},
      {std::string(100000, '['), "parse error"},
      {std::string(Wisdom::kMaxBytes + 1, ' '), "the text has 4194305 bytes, but may have at most"},
  };
  for (const auto& [text, sentence] : bad) {
    const std::string shown = text.substr(0, 120);
    const std::string seen = sentence_of([&, &bytes = text] { parse_wisdom(bytes); });
    EXPECT_THAT(seen, HasSubstr(sentence)) << shown;
  }
}

TEST(Wisdom, RefusesEveryTruncatedText) {
  Wisdom wisdom;
  wisdom.record(entry("m", "one"));
  wisdom.record(entry("m", "two"));
  const std::string text = to_text(wisdom);
  for (std::size_t bytes = 0; bytes < text.size() - 1; ++bytes)  // the last is a line break
    EXPECT_THROW(parse_wisdom(text.substr(0, bytes)), Error) << bytes;
}

// ---- files

class WisdomFiles : public testing::Test {
 protected:
  WisdomFiles() : folder_(testing::TempDir() + "metalconv_wisdom_" + std::to_string(getpid())) {
    fs::create_directories(folder_);
    wisdom_.record(entry("m", "one"));
  }
  ~WisdomFiles() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_;
  Wisdom wisdom_;
};

TEST_F(WisdomFiles, AreReadAsTheyWereWritten) {
  const std::string file = path("deep/er/wisdom.json");
  EXPECT_EQ(save_wisdom(file, wisdom_), "");
  const LoadedWisdom loaded = load_wisdom(file);
  EXPECT_EQ(loaded.warning, "");
  EXPECT_EQ(loaded.wisdom.entries(), wisdom_.entries());
  wisdom_.record(entry("m", "two"));
  EXPECT_EQ(save_wisdom(file, wisdom_), "") << "a good file is replaced";
  EXPECT_EQ(load_wisdom(file).wisdom.size(), 2u);
  EXPECT_EQ(std::distance(fs::directory_iterator(path("deep/er")), {}), 1);
}

TEST_F(WisdomFiles, ThatAreNotThereAreNoWisdom) {
  const LoadedWisdom loaded = load_wisdom(path("none.json"));
  EXPECT_EQ(loaded.warning, "");
  EXPECT_TRUE(loaded.wisdom.empty());
}

TEST_F(WisdomFiles, ThatCannotBeReadAreIgnoredWithAWarning) {
  write_file(path("cut"), to_text(wisdom_).substr(0, 90));
  write_file(path("newer"), R"({"format": "metalconv wisdom", "version": 2, "entries": 5})");
  write_file(path("huge"), std::string(Wisdom::kMaxBytes + 1, ' '));
  const std::pair<std::string, std::string> bad[] = {
      {"cut", "parse error"},
      {"newer", "version is 2, but this metalconv reads 1"},
      {"huge", fmt::format("cannot read {}: it is larger than 4 MiB", path("huge"))},
      {".", "Is a directory"}};
  for (const auto& [name, reason] : bad) {
    const LoadedWisdom loaded = load_wisdom(path(name));
    EXPECT_TRUE(loaded.wisdom.empty());
    EXPECT_THAT(loaded.warning,
                StartsWith(fmt::format("the wisdom file {} is ignored: ", path(name))));
    EXPECT_THAT(loaded.warning, HasSubstr(reason));
  }
}

TEST_F(WisdomFiles, ThatAreDamagedAreKeptWhenANewOneIsWritten) {
  const std::string file = path("wisdom.json");
  for (const std::string& damaged : {std::string("{"), std::string(Wisdom::kMaxBytes + 1, ' ')}) {
    write_file(file, damaged);
    EXPECT_EQ(save_wisdom(file, wisdom_), file + ".damaged");
    EXPECT_EQ(read_file(file + ".damaged"), damaged);
    EXPECT_EQ(load_wisdom(file).wisdom.entries(), wisdom_.entries());
  }
}

TEST_F(WisdomFiles, ThatCannotBeWrittenAreASentence) {
  write_file(path("file"), "");
  EXPECT_THAT(sentence_of([&] { save_wisdom(path("file/wisdom.json"), wisdom_); }),
              StartsWith(fmt::format("the folder '{}' cannot be made: ", path("file"))));
  EXPECT_THAT(sentence_of([&] { save_wisdom(folder_.string(), wisdom_); }),
              fmt::format("cannot write {}: Is a directory", folder_.string()));
  EXPECT_TRUE(fs::is_directory(folder_));
}

TEST(WisdomPlace, IsTheUsersCacheFolder) {
  EXPECT_EQ(cli::default_wisdom_path("/c", "/h", false), "/c/metalconv/wisdom.json");
  EXPECT_EQ(cli::default_wisdom_path("/c", "/h", true), "/c/metalconv/wisdom.json");
  EXPECT_EQ(cli::default_wisdom_path("", "/h", false), "/h/.cache/metalconv/wisdom.json");
  EXPECT_EQ(cli::default_wisdom_path("c", "/h", true), "/h/Library/Caches/metalconv/wisdom.json");
  EXPECT_EQ(cli::default_wisdom_path("", "", false), "");
}

// ---- machines

TEST(MachineKey, HasWhatMakesKernelsFast) {
  DeviceInfo info;
  info.name = "cpu";
  info.model = "Made-up\n\xc3\xa9";
  info.compute_units = 4;
  info.facts = {{"instruction set", "avx2"}, {"threads", "4"}, {"vendor", "onednn-3.2.0"}};
  const std::string key = "cpu, Made-up???, 4 units, instruction set avx2, threads 4";
  EXPECT_EQ(machine_key(info), key);
  info.memory_bytes = 17;
  info.facts["vendor"] = "none";
  EXPECT_EQ(machine_key(info), key) << "neither changes our kernels";
  for (const char* fact : {"instruction set", "threads", "driver", "OS"}) {
    DeviceInfo other = info;
    other.facts[fact] = "another";
    EXPECT_NE(machine_key(other), key) << fact;
  }
}

TEST(MachineKey, OfHardwareSurvivesUpdates) {
  DeviceInfo info;
  info.name = "cuda";
  info.model = "Made-up GPU";
  info.compute_units = 132;
  info.facts = {
      {"compute capability", "9.0"}, {"driver", "580.1"}, {"CUDA", "13.0"}, {"NVRTC", "13.0"}};
  const std::string key = "cuda, Made-up GPU, 132 units, compute capability 9.0";
  EXPECT_EQ(hardware_key(info), key);
  for (const char* fact : {"driver", "CUDA", "NVRTC", "OS", "kernels"}) {
    info.facts[fact] = "another";
    EXPECT_EQ(hardware_key(info), key) << fact;
  }
  info.facts["compute capability"] = "10.0";
  EXPECT_NE(hardware_key(info), key);
}

TEST(MachineKey, DiffersWithThreadsAndInstructionSet) {
  const auto key = [](const std::string& isa, int threads) {
    return machine_key(cpu_device(isa, threads).info());
  };
  const std::string isa = cpu_isas().front();
  EXPECT_EQ(key(isa, 2), machine_key(make_cpu_device({2, isa, true})->info())) << "vendor or not";
  EXPECT_NE(key(isa, 1), key(isa, 2));
  for (const std::string& other : cpu_isas()) EXPECT_EQ(key(other, 2) == key(isa, 2), other == isa);
}

// ---- the planner

constexpr const char* kProblem = "1x3x20x30,k8,3x3,p1";

Device& device() { return cpu_device(cpu_isas().front(), 2); }

const Candidate& chosen(const std::vector<Candidate>& candidates,
                        Implementation role = Implementation::optimized) {
  for (const Candidate& c : candidates)
    if (c.chosen && c.row->implementation == role) return c;
  throw std::runtime_error("nothing is chosen");
}

std::string estimated(const std::string& problem = kProblem) {
  return chosen(explain(device(), parse_problem(problem))).row->name;
}

/// One of our rows that does the problem and is not the estimate's choice.
std::string another(const std::string& problem = kProblem) {
  for (const Candidate& c : explain(device(), parse_problem(problem)))
    if (c.row->implementation == Implementation::optimized && c.refusal.empty() && !c.chosen)
      return c.row->name;
  throw std::runtime_error("there is no other row");
}

Wisdom wisdom_for(Device& machine, const std::string& problem, const std::string& kernel) {
  Wisdom wisdom;
  wisdom.record({machine_key(machine.info()),
                 to_text(parse_problem(problem)),
                 kernel,
                 {{kernel, 7.5}, {estimated(), 8.5}}});
  return wisdom;
}

PlanOptions wise(const Wisdom& wisdom) { return {Implementation::optimized, {}, &wisdom}; }

TEST(Planner, TakesWhatWasMeasured) {
  const ConvProblem p = parse_problem(kProblem);
  const Wisdom wisdom = wisdom_for(device(), kProblem, another());
  const auto candidates = explain(device(), p, &wisdom);
  EXPECT_EQ(std::count_if(candidates.begin(), candidates.end(),
                          [](const Candidate& c) {
                            return c.chosen && c.row->implementation == Implementation::optimized;
                          }),
            1);
  EXPECT_EQ(chosen(candidates).row->name, another());
  EXPECT_EQ(chosen(candidates).rule, ChoiceRule::measurement);
  EXPECT_EQ(to_string(chosen(candidates).rule), "measurement");
  EXPECT_EQ(chosen(candidates, Implementation::basic).rule, ChoiceRule::estimate);
  for (const Candidate& c : candidates) {
    const bool ours = c.row->implementation == Implementation::optimized;
    const std::optional<double> us = !ours                        ? std::nullopt
                                     : c.row->name == another()   ? std::optional(7.5)
                                     : c.row->name == estimated() ? std::optional(8.5)
                                                                  : std::nullopt;
    EXPECT_EQ(c.measured_us, us) << c.row->name;
  }
  EXPECT_EQ(make_plan(device(), p, wise(wisdom)).kernel(), another());
  EXPECT_EQ(make_plan(device(), p).kernel(), estimated());
  EXPECT_EQ(make_plan(device(), p, {Implementation::basic, {}, &wisdom}).kernel(), "basic");
}

TEST(Planner, ANamedKernelWinsOverWisdom) {
  const Wisdom wisdom = wisdom_for(device(), kProblem, another());
  const PlanOptions named{Implementation::optimized, estimated(), &wisdom};
  EXPECT_EQ(make_plan(device(), parse_problem(kProblem), named).kernel(), estimated());
}

TEST(Planner, WisdomIsOfOneProblem) {
  const std::string second = "1x3x21x30,k8,3x3,p1";
  Wisdom wisdom = wisdom_for(device(), kProblem, another());
  const auto kernel = [&](const std::string& problem) {
    return chosen(explain(device(), parse_problem(problem), &wisdom)).row->name;
  };
  EXPECT_EQ(kernel(second), estimated(second));
  wisdom.record({machine_key(device().info()),
                 to_text(parse_problem(second)),
                 estimated(second),
                 {{estimated(second), 1.0}}});
  EXPECT_EQ(kernel(second), estimated(second));
  EXPECT_EQ(kernel(kProblem), another());
}

/// As in a file of data/choices.
Wisdom shipped_for(Device& machine, const std::string& kernel, double us = 3.5) {
  Wisdom wisdom;
  wisdom.record(
      {hardware_key(machine.info()), to_text(parse_problem(kProblem)), kernel, {{kernel, us}}});
  wisdom.set_provenance({{"date", "2026-11-26"}});
  return wisdom;
}

TEST(Planner, ShippedChoicesComeAfterWisdomAndBeforeTheEstimate) {
  const ConvProblem p = parse_problem(kProblem);
  const std::vector<Wisdom> shipped{shipped_for(device(), "gone"),
                                    shipped_for(device(), another())};
  const Candidate by_shipped = chosen(explain(device(), p, nullptr, shipped));
  EXPECT_EQ(by_shipped.row->name, another()) << "a choice of no kernel is skipped";
  EXPECT_EQ(by_shipped.rule, ChoiceRule::shipped);
  EXPECT_EQ(by_shipped.wisdom, &shipped[1]);
  EXPECT_EQ(by_shipped.measured_us, 3.5);
  EXPECT_THAT(cli::verdict_text(by_shipped),
              testing::ContainsRegex("CHOSEN by shipped choice, measured on 2026-11-26, about "
                                     "[0-9.e-]+ ms, measured 0.0035 ms"));
  PlanOptions options;
  options.shipped = shipped;
  EXPECT_EQ(make_plan(device(), p, options).kernel(), another());
  options.kernel = estimated();
  EXPECT_EQ(make_plan(device(), p, options).kernel(), estimated()) << "a named kernel comes first";

  const Wisdom own = wisdom_for(device(), kProblem, estimated());
  const Candidate by_own = chosen(explain(device(), p, &own, shipped));
  EXPECT_EQ(by_own.row->name, estimated());
  EXPECT_EQ(by_own.rule, ChoiceRule::measurement);
  EXPECT_EQ(by_own.wisdom, &own);
  const Wisdom useless = wisdom_for(device(), kProblem, "gone");
  EXPECT_EQ(chosen(explain(device(), p, &useless, shipped)).rule, ChoiceRule::shipped);

  for (const Candidate& c :
       {chosen(explain(device(), p, nullptr, {})),
        chosen(explain(device(), p, nullptr, {&shipped[0], 1})),
        chosen(explain(cpu_device(cpu_isas().front(), 1), p, nullptr, shipped))}) {
    EXPECT_EQ(c.rule, ChoiceRule::estimate);
    EXPECT_EQ(c.wisdom, nullptr);
  }
}

TEST(Planner, AReportSaysWhichChoicesWereShipped) {
  bench::Result result;
  for (const std::string& kernel : {another(), estimated()})
    result.rows.push_back(
        bench::fake::ok_row("tiny", kProblem, {Implementation::optimized, kernel, 2.0}));
  const std::vector<Wisdom> shipped{shipped_for(device(), another())};
  std::vector<std::pair<std::string, std::string>> block;
  cli::add_wisdom(result, {&device()}, {}, shipped, &block);
  EXPECT_THAT(block, ElementsAre(std::pair("shipped choices",
                                           "1 of 2 optimized kernels, measured on 2026-11-26")));
}

TEST(ShippedChoices, AreOffWithWisdom) {
  const auto shipped = [](const char* variable, const char* flag) {
    setenv("METALCONV_WISDOM", variable, 1);
    CLI::App app;
    cli::WisdomFile file;
    file.add_to(app);
    app.parse(flag);
    const std::size_t files = file.shipped().size();
    setenv("METALCONV_WISDOM", "off", 1);
    return files;
  };
  ASSERT_FALSE(shipped_choices().empty());
  EXPECT_EQ(shipped("/w.json", ""), shipped_choices().size());
  EXPECT_EQ(shipped("/w.json", "--no-wisdom"), 0u);
  EXPECT_EQ(shipped("off", ""), 0u);
  EXPECT_EQ(shipped("off", "--wisdom /w.json"), shipped_choices().size());
}

/// Files that measured something say what, when and how; tests/cuda_test.cpp looks at kernels.
TEST(ShippedChoices, HaveTheirProvenance) {
  for (const Wisdom& choices : shipped_choices()) {
    if (choices.empty()) continue;
    for (const char* fact : {"device", "metalconv", "date", "command", "noise", "driver", "CUDA"})
      EXPECT_TRUE(choices.provenance().contains(fact)) << fact;
    for (const WisdomEntry& e : choices.entries()) {
      EXPECT_THAT(e.machine, StartsWith("cuda, ")) << "other devices need a test of their kernels";
      EXPECT_EQ(to_text(parse_problem(e.problem)), e.problem) << "it would never be found";
    }
  }
}

TEST(Planner, WisdomOfAnotherMachineIsIgnored) {
  Device& other = cpu_device(cpu_isas().front(), 1);
  const Wisdom wisdom = wisdom_for(other, kProblem, another());
  const Candidate c = chosen(explain(device(), parse_problem(kProblem), &wisdom));
  EXPECT_EQ(c.row->name, estimated());
  EXPECT_EQ(c.rule, ChoiceRule::estimate);
  EXPECT_FALSE(c.measured_us);
}

/// A row refuses the problem, is gone, or is only for those who name it: the estimate chooses.
TEST(Planner, FallsBackToTheEstimate) {
  FakeDevice fake(device());
  const auto add = [&](const std::string& name, double cost, const char* refusal) {
    KernelRow row = *device().registry().find(Implementation::optimized, "general");
    row.name = name;
    row.cost = [cost](const ConvProblem&) { return cost; };
    row.supports = [refusal](const ConvProblem&) { return refusal; };
    fake.add(row);
  };
  add("refusing", 1, "it is Monday");
  add("cheap", 2, "");
  add("dear", 3, "");
  add("ladder", HUGE_VAL, "");
  const ConvProblem p = parse_problem(kProblem);
  const auto choice = [&](const char* kernel) {
    const Wisdom wisdom = wisdom_for(fake, kProblem, kernel);
    EXPECT_EQ(make_plan(fake, p, wise(wisdom)).kernel(),
              chosen(explain(fake, p, &wisdom)).row->name);
    const Candidate c = chosen(explain(fake, p, &wisdom));
    return fmt::format("{} by {}", c.row->name, to_string(c.rule));
  };
  EXPECT_EQ(choice("dear"), "dear by measurement");
  EXPECT_EQ(choice("cheap"), "cheap by measurement");
  for (const char* kernel : {"refusing", "gone", "ladder"})
    EXPECT_EQ(choice(kernel), "cheap by estimate") << kernel;
}

TEST(Planner, Conv2dGoesByWisdom) {
  const ConvProblem p = parse_problem("1x1x1x2,k1,1x1");
  std::string ran;
  FakeDevice fake(device());
  for (const char* name : {"cheap", "dear"}) {
    KernelRow row = *device().registry().find(Implementation::optimized, "general");
    row.name = name;
    row.cost = [name](const ConvProblem&) { return name[0] == 'c' ? 1.0 : 2.0; };
    row.make = [&ran, name, make = row.make](const ConvProblem& problem) {
      ran = name;
      return make(problem);
    };
    fake.add(row);
  }
  const Wisdom wisdom = wisdom_for(fake, "1x1x1x2,k1,1x1", "dear");
  const float x[] = {2, 3}, w[] = {5};
  float y[2] = {};
  conv2d(fake, p, x, w, nullptr, y, wise(wisdom));
  EXPECT_EQ(ran, "dear");
  EXPECT_THAT(y, ElementsAre(10, 15));
}

// ---- tuning

/// A device whose estimate prefers "first" to "second" to "third", and a made-up run on it.
class Tuning : public testing::Test {
 protected:
  Tuning() : fake_(device()) {
    double cost = 1;
    for (const char* name : {"first", "second", "third"}) {
      KernelRow row = *device().registry().find(Implementation::optimized, "general");
      row.name = name;
      row.cost = [cost](const ConvProblem&) { return cost; };
      fake_.add(row);
      cost += 1;
      result_.rows.push_back(
          bench::fake::ok_row("tiny", kProblem, {Implementation::optimized, name, 2.0}));
    }
  }

  bench::Row& row(std::size_t i) { return result_.rows[i]; }
  bench::Tuned tuned() {
    const auto choices = bench::choices_of(result_, {&fake_});
    return choices.size() == 1 ? choices[0] : bench::Tuned{};
  }

  FakeDevice fake_;
  bench::Result result_;
};

TEST_F(Tuning, TheFastestVerifiedKernelWins) {
  bench::fake::time(&row(0), 100);
  bench::fake::time(&row(1), 80);
  bench::fake::time(&row(2), 90);
  const bench::Tuned t = tuned();
  EXPECT_EQ(t.estimate, "first");
  EXPECT_EQ(t.estimated, &row(0));
  ASSERT_EQ(t.winner, &row(1));
  EXPECT_NEAR(t.gain_percent().value(), 20, 0.5);
  Wisdom wisdom;
  bench::record({t}, &wisdom);
  ASSERT_EQ(wisdom.size(), 1u);
  const WisdomEntry* found = wisdom.find(machine_key(fake_.info()), parse_problem(kProblem));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->kernel, "second");
  ASSERT_EQ(found->times_us.size(), 3u);
  EXPECT_EQ(found->times_us.at("third"), row(2).time_us->median);
  const std::string table = bench::to_text(bench::tuning_table({t}), 100);
  EXPECT_THAT(table, testing::ContainsRegex("tiny +cpu +first +[0-9.]+ us +second +[0-9.]+ us"));
}

TEST_F(Tuning, NoiseChangesNothing) {
  bench::fake::time(&row(0), 100, 0.2);
  bench::fake::time(&row(1), 99, 0.2);
  bench::fake::time(&row(2), 98, 0.2);
  const bench::Tuned t = tuned();
  EXPECT_EQ(t.winner, &row(0));
  EXPECT_EQ(t.gain_percent(), 0.0);
}

TEST_F(Tuning, WhatFailedOrIsAboveTheRoofIsNeverChosen) {
  bench::fake::fail(&row(0), "it is wrong");
  bench::fake::time(&row(1), 1);
  row(1).above_roof = true;
  bench::fake::time(&row(2), 90);
  const bench::Tuned t = tuned();
  EXPECT_EQ(t.estimated, nullptr);
  EXPECT_EQ(t.winner, &row(2));
  EXPECT_FALSE(t.gain_percent());
  Wisdom wisdom;
  bench::record({t}, &wisdom);
  EXPECT_THAT(wisdom.entries().at(0).times_us,
              ElementsAre(std::pair("third", row(2).time_us->median)));
  EXPECT_THAT(bench::to_text(bench::tuning_table({t}), 100), HasSubstr("first FAILED"));
  EXPECT_EQ(cli::exit_status(result_), 1);
}

TEST_F(Tuning, WithoutAWinnerWhatWasKnownIsForgotten) {
  Wisdom wisdom = wisdom_for(fake_, kProblem, "second");
  wisdom.record(entry("another machine", to_text(parse_problem(kProblem))));
  bench::fake::fail(&row(0), "it is wrong");
  bench::fake::skip(&row(1), "it does not fit");
  row(2).time_us.reset();
  const bench::Tuned t = tuned();
  EXPECT_EQ(t.winner, nullptr);
  bench::record({t}, &wisdom);
  ASSERT_EQ(wisdom.size(), 1u);
  EXPECT_EQ(wisdom.entries().at(0).machine, "another machine");
  EXPECT_THAT(bench::to_text(bench::tuning_table({t}), 200),
              HasSubstr("first failed, second skipped and third not timed"));
}

/// Executes `times` times; writes nothing when that is 0.
class Repeated final : public PreparedConv {
 public:
  Repeated(std::unique_ptr<const PreparedConv> base, int times)
      : base_(std::move(base)), times_(times) {}
  std::size_t packed_bytes() const override { return base_->packed_bytes(); }
  std::size_t workspace_bytes() const override { return base_->workspace_bytes(); }
  void pack(Queue& queue, const TensorView& w, Memory packed) const override {
    base_->pack(queue, w, packed);
  }
  void execute(Queue& queue, const TensorView& x, Memory packed, const TensorView& bias,
               const TensorView& y, Memory workspace) const override {
    for (int i = 0; i < times_; ++i) base_->execute(queue, x, packed, bias, y, workspace);
  }

 private:
  std::unique_ptr<const PreparedConv> base_;
  int times_;
};

/// Kernels are compiled before the first problem; what then fails is reported where it runs.
TEST(Tune, MakesItsPlansAhead) {
  FakeDevice fake(device());
  std::vector<std::string> order;
  std::mutex mutex;
  KernelRow row = *device().registry().find(Implementation::optimized, "general");
  row.make = [&, make = row.make](const ConvProblem& p) {
    const std::lock_guard lock(mutex);
    order.push_back(to_text(p));
    if (p.K == 7) throw Error(ErrorCode::device, "does not compile");
    return make(p);
  };
  fake.add(row);
  bench::RunOptions options;
  bench::set_for_tuning(&options);
  options.time = false;
  const std::vector<std::string> problems{"1x3x8x8,k4,3x3", "1x3x8x8,k5,3x3", "1x3x8x8,k7,3x3"};
  const bench::Result result = bench::run({&fake}, bench::select(problems, {}), options);
  ASSERT_EQ(order.size(), 6u);
  const std::set<std::string> ahead(order.begin(), order.begin() + 3);
  EXPECT_EQ(ahead.size(), 3u) << "all of them, once";
  ASSERT_EQ(result.rows.size(), 3u);
  EXPECT_EQ(result.rows[1].verdict, bench::Verdict::ok) << result.rows[1].reason;
  EXPECT_EQ(result.rows[2].reason, "does not compile");
}

TEST(Tune, LeavesOutWhatItsEstimateSaysIsHopeless) {
  FakeDevice fake(device());
  for (const auto& [name, cost] : {std::pair("dear", 4.1), {"cheap", 1.0}, {"near", 4.0}}) {
    KernelRow row = *device().registry().find(Implementation::optimized, "general");
    row.name = name;
    row.cost = [seconds = cost](const ConvProblem&) { return seconds; };
    fake.add(row);
  }
  bench::RunOptions options;
  bench::set_for_tuning(&options);
  options.time = false;
  const auto kernels = [&] {
    std::vector<std::string> names;
    for (const bench::Row& row : bench::run({&fake}, bench::select({kProblem}, {}), options).rows)
      names.push_back(row.kernel);
    return names;
  };
  EXPECT_THAT(kernels(), ElementsAre("cheap", "near"));
  options.within = 5;
  EXPECT_THAT(kernels(), ElementsAre("dear", "cheap", "near"));
}

/// The whole way: estimates that are wrong, a kernel that is fast and wrong, one that is only for
/// those who name it.
TEST(Tune, FindsTheFastestThatIsRight) {
  FakeDevice fake(device());
  const auto add = [&](const char* name, double cost, int times) {
    KernelRow row = *device().registry().find(Implementation::optimized, "direct");
    row.name = name;
    row.cost = [cost](const ConvProblem&) { return cost; };
    row.make = [times, make = row.make](const ConvProblem& p) {
      return std::make_unique<Repeated>(make(p), times);
    };
    fake.add(row);
  };
  add("slow", 1, 20);
  add("wrong", 2, 0);
  add("right", 3, 1);
  add("ladder", HUGE_VAL, 1);
  bench::RunOptions options;
  bench::set_for_tuning(&options);
  options.measure.budget_seconds = 0.3;
  const bench::Result result =
      bench::run({&fake}, bench::select({"1x3x40x60,k8,3x3,p1"}, {}), options);
  ASSERT_EQ(result.rows.size(), 3u) << "the ladder is left out";
  const auto choices = bench::choices_of(result, {&fake});
  ASSERT_EQ(choices.size(), 1u);
  EXPECT_EQ(choices[0].estimate, "slow");
  ASSERT_NE(choices[0].winner, nullptr);
  EXPECT_EQ(choices[0].winner->kernel, "right");
  EXPECT_GT(choices[0].gain_percent().value(), 30);
  EXPECT_EQ(cli::exit_status(result), 1) << "one kernel failed";
  Wisdom wisdom;
  bench::record(choices, &wisdom);
  EXPECT_EQ(make_plan(fake, choices[0].problem, wise(wisdom)).kernel(), "right");
}

}  // namespace
}  // namespace metalconv::test
