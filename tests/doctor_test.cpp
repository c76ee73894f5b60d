// SPDX-License-Identifier: Apache-2.0
// `doctor`: what it makes of a machine, sound or not.
#include "cli/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/machine.h"
#include "metalconv/cpu.h"
#include "metalconv/error.h"
#include "wrong_device.h"

namespace metalconv::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

/// A file system of a machine that is not this one.
class Doctor : public testing::Test {
 protected:
  Doctor() : root_(testing::TempDir() + "metalconv_doctor_test_" + std::to_string(getpid())) {
    fs::create_directories(root_);
  }
  ~Doctor() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  Finding setting(const std::string& name) const {
    for (const Finding& finding : examine_settings(root_))
      if (finding.name == name) return finding;
    return {};
  }

  fs::path root_;
};

DeviceEntry entry(std::unique_ptr<Device> device) {
  const std::string name = device->info().name;
  return {name, std::move(device), {}};
}

TEST_F(Doctor, ADeviceIsTriedAndAWrongOneIsFoundOut) {
  const auto cpu = make_cpu_device({0, {}, false});
  for (const float written : {0.0F, NAN}) {
    std::vector<DeviceEntry> devices;
    devices.push_back(entry(make_cpu_device({0, {}, false})));
    devices.push_back(entry(std::make_unique<test::WrongDevice>(*cpu, written)));
    devices.push_back({"cuda", nullptr, "no driver"});
    const auto findings = examine_devices(devices);
    ASSERT_EQ(findings.size(), 3u);
    EXPECT_EQ(findings[0].health, Health::ok);
    EXPECT_THAT(findings[0].text, HasSubstr("computes right (kernel "));
    EXPECT_EQ(findings[1].health, Health::wrong);
    EXPECT_THAT(findings[1].text, HasSubstr("computes wrongly: "));
    EXPECT_THAT(findings[1].remedy, HasSubstr("see it again: metalconv verify"));
    EXPECT_EQ(findings[2].health, Health::absent);
    EXPECT_EQ(findings[2].text, "no driver");
    EXPECT_THAT(findings[2].remedy, HasSubstr("METALCONV_CUDA_PATH"));
    EXPECT_EQ(exit_status({{}, "cpu", findings}), 1);
  }
}

/// It is there, and gives no memory.
class FullDevice final : public Device {
 public:
  explicit FullDevice(Device& cpu) : cpu_(cpu) {}
  const DeviceInfo& info() const override { return cpu_.info(); }
  std::unique_ptr<Buffer> allocate(std::size_t) override {
    throw Error(ErrorCode::device, "the driver is not in the mood");
  }
  std::unique_ptr<Queue> make_queue() override { return cpu_.make_queue(); }
  const Registry& registry() const override { return cpu_.registry(); }
  std::vector<RoofProbe> roof_probes() override { return {}; }

 private:
  Device& cpu_;
};

TEST_F(Doctor, ADeviceThatFailsIsSaidSo) {
  const auto cpu = make_cpu_device({0, {}, false});
  std::vector<DeviceEntry> devices;
  devices.push_back(entry(std::make_unique<FullDevice>(*cpu)));
  const auto findings = examine_devices(devices);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].health, Health::bad);
  EXPECT_THAT(findings[0].text, HasSubstr("cannot compute: the driver is not in the mood"));
  EXPECT_EQ(exit_status({{}, "cpu", findings}), 2);
}

TEST_F(Doctor, HugePages) {
  EXPECT_EQ(setting("huge pages").name, "");  // the system does not tell
  write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  EXPECT_EQ(setting("huge pages").health, Health::ok);
  EXPECT_THAT(setting("huge pages").text, HasSubstr(": madvise"));
  write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  EXPECT_EQ(setting("huge pages").health, Health::note);
  EXPECT_THAT(setting("huge pages").remedy, HasSubstr("echo madvise"));
  write("sys/kernel/mm/transparent_hugepage/enabled", "][\n");
  EXPECT_EQ(setting("huge pages").health, Health::ok);
}

TEST_F(Doctor, FrequencyGovernors) {
  EXPECT_EQ(setting("frequency").name, "");
  write("sys/devices/system/cpu/online", "0-1\n");
  EXPECT_THAT(setting("frequency").text, HasSubstr("no governor is visible"));
  write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
  EXPECT_EQ(setting("frequency").health, Health::ok);
  write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
  EXPECT_EQ(setting("frequency").health, Health::note);
  EXPECT_THAT(setting("frequency").text, HasSubstr("performance on 1, governor powersave on 1"));
  EXPECT_THAT(setting("frequency").remedy, HasSubstr("scaling_governor"));
}

TEST_F(Doctor, AContainersShareOfTheProcessors) {
  const auto threads = [&] { return examine_processor(root_).at(1); };
  EXPECT_EQ(threads().health, Health::ok);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(threads().health, Health::ok);
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(threads().health, Health::note);
  EXPECT_THAT(threads().text, HasSubstr("the time of 0.5 processors"));
  EXPECT_THAT(threads().remedy, HasSubstr("--threads 1"));
  for (const char* odd : {"", "50000", "50000 0", "a b"}) {
    write("sys/fs/cgroup/cpu.max", odd);
    EXPECT_EQ(threads().health, Health::ok) << odd;
  }
}

TEST(DoctorNoise, IsJudged) {
  EXPECT_EQ(judge({1000, 0.01, 0.02}).health, Health::ok);
  EXPECT_THAT(judge({1000, 0.01, 0.02}).text, HasSubstr("took 1 % longer than the median"));
  EXPECT_EQ(judge({1000, 0.08, 0.02}).health, Health::note);
  EXPECT_THAT(judge({1000, 0.08, 0.02}).remedy, HasSubstr("end other programs"));
  EXPECT_THAT(judge({1000, 4, 0}).text, HasSubstr("took 5.0 times the median"));
  EXPECT_THAT(judge({1000, 0.01, 0.5}).text, HasSubstr("threads differ by 50 %"));
  EXPECT_EQ(judge({1000, NAN, 0}).health, Health::note);
  EXPECT_EQ(judge({1000, 0, NAN}).health, Health::note);
}

TEST(DoctorNoise, IsMeasured) {
  for (const int threads : {1, 3}) {
    const Unevenness seen = measure_unevenness(threads, 0.03);
    EXPECT_GE(seen.pieces, threads);
    EXPECT_GE(seen.slow_part, 0);
    EXPECT_GE(seen.slowest_core, 0);
    EXPECT_TRUE(std::isfinite(seen.slow_part + seen.slowest_core));
  }
}

TEST(DoctorWisdom, IsCountedForTheDevicesHere) {
  std::vector<DeviceEntry> devices;
  devices.push_back(entry(make_cpu_device({0, {}, false})));
  EXPECT_EQ(examine_wisdom("", {}, devices).health, Health::absent);
  EXPECT_THAT(examine_wisdom("/w.json", {}, devices).text, HasSubstr("none yet; they go to /w"));
  const Finding damaged = examine_wisdom("/w.json", {{}, "/w.json is damaged"}, devices);
  EXPECT_EQ(damaged.health, Health::bad);
  EXPECT_EQ(damaged.text, "/w.json is damaged");
  LoadedWisdom loaded;
  loaded.wisdom.record({"another machine", "1x1x1x1,k1,1x1", "direct", {{"direct", 1}}});
  EXPECT_EQ(examine_wisdom("/w.json", loaded, devices).health, Health::note);
  loaded.wisdom.record(
      {machine_key(devices[0].device->info()), "1x1x1x1,k1,1x1", "direct", {{"direct", 1}}});
  EXPECT_EQ(examine_wisdom("/w.json", loaded, devices).health, Health::ok);
  EXPECT_THAT(examine_wisdom("/w.json", loaded, devices).text,
              HasSubstr("1 choice for the devices here, 2 in all"));
}

TEST(DoctorReport, FitsATerminalAndKeepsItsWords) {
  const std::string words = "a sentence of many words that does not end before the line does, " +
                            std::string("and then goes on for some more of them. ");
  const Examination seen{{{"operating system", words + words}},
                         "cpu",
                         {{"Devices", "cpu", Health::ok, words + words, {}},
                          {"Tools", "PNG", Health::absent, "\x1B[31mred", words},
                          {"Tools", "NVRTC", Health::note, "", ""}}};
  const std::string text = to_text(seen);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_THAT(text, HasSubstr("\nDevices\n  ok    cpu "));
  EXPECT_THAT(text, HasSubstr("\nTools\n  --    PNG "));
  EXPECT_THAT(text, HasSubstr("-> a sentence"));
  EXPECT_THAT(text, Not(HasSubstr("\x1B")));
  EXPECT_THAT(text, HasSubstr("To look at: 1 note above."));
}

TEST(DoctorReport, JsonHoldsAll) {
  const Examination seen{
      {{"compiler", "g++"}}, "cuda", {{"Devices", "cuda", Health::bad, "\xFF", "mend"}}};
  const auto json = nlohmann::json::parse(to_json(seen));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("machine").at("compiler"), "g++");
  EXPECT_EQ(json.at("device"), "cuda");
  const auto& finding = json.at("findings").at(0);
  EXPECT_EQ(finding.at("section"), "Devices");
  EXPECT_EQ(finding.at("name"), "cuda");
  EXPECT_EQ(finding.at("health"), "bad");
  EXPECT_EQ(finding.at("remedy"), "mend");
}

TEST(DoctorReport, ExitStatusSaysTheWorst) {
  const auto status = [](const std::string& device, std::initializer_list<Health> devices) {
    Examination seen{{}, device, {{"Measured choices", "wisdom", Health::bad, "", ""}}};
    for (const Health health : devices)
      seen.findings.push_back({"Devices", "cuda", health, "", ""});
    return exit_status(seen);
  };
  EXPECT_EQ(status("cpu", {Health::ok}), 0);
  EXPECT_EQ(status("cpu", {Health::absent, Health::bad, Health::ok}), 0);
  EXPECT_EQ(status("cpu", {Health::ok, Health::wrong}), 1);
  EXPECT_EQ(status("cpu", {Health::wrong}), 1);
  EXPECT_EQ(status("cpu", {Health::bad}), 2);
  EXPECT_EQ(status("", {Health::ok}), 2);  // the emulator alone
}

TEST(Noise, OtherProgramsAreSeen) {
  if (!fs::exists("/proc/stat")) GTEST_SKIP() << "nothing says what other programs do";
  if (std::thread::hardware_concurrency() > 8) GTEST_SKIP() << "one program is no noise here";
  using Clock = std::chrono::steady_clock;
  const auto busy_until = [](Clock::time_point end) {
    while (Clock::now() < end) continue;
  };
  const auto end = Clock::now() + std::chrono::milliseconds(400);
  const NoiseWatch watch;
  const pid_t other = fork();
  if (other == 0) {
    busy_until(end + std::chrono::milliseconds(100));
    _exit(0);
  }
  std::this_thread::sleep_until(end);
  EXPECT_THAT(watch.warnings({}), testing::Contains(HasSubstr("Other programs kept")));
  waitpid(other, nullptr, 0);
}

}  // namespace
}  // namespace metalconv::cli
