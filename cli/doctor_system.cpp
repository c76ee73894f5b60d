// SPDX-License-Identifier: Apache-2.0
// The parts of `doctor` that ask the system: its settings, and how evenly it runs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <map>
#include <thread>

#include "bench/stats.h"
#include "cli/doctor.h"
#include "cpu/system.h"

namespace metalconv::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// The first line; empty when there is no such file.
std::string first_line(const fs::path& file) {
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  return line;
}

Finding huge_pages(const std::string& modes) {
  Finding finding{"Settings", "huge pages", Health::ok, {}, {}};
  const auto open = modes.find('['), close = modes.find(']');
  const std::string chosen =
      open < close && close != std::string::npos ? modes.substr(open + 1, close - open - 1) : modes;
  finding.text = fmt::format("transparent huge pages: {}", chosen);
  if (chosen == "never") {
    finding.health = Health::note;
    finding.text += "; tensors lie in small pages, which costs the cpu up to 10 %";
    finding.remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
  }
  return finding;
}

/// How many processors are under each governor.
std::map<std::string, int> governors(const fs::path& root) {
  std::map<std::string, int> counts;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "sys/devices/system/cpu", error)) {
    const std::string governor = first_line(entry.path() / "cpufreq/scaling_governor");
    if (!governor.empty()) ++counts[governor];
  }
  return counts;
}

Finding frequency(const std::map<std::string, int>& counts) {
  Finding finding{"Settings", "frequency", Health::ok, {}, {}};
  if (counts.empty()) {
    finding.text = "no governor is visible (a virtual machine: its host decides)";
    return finding;
  }
  bool steady = true;
  for (const auto& [governor, count] : counts) {
    finding.text +=
        fmt::format("{}governor {} on {}", finding.text.empty() ? "" : ", ", governor, count);
    steady = steady && governor == "performance";
  }
  if (!steady) {
    finding.health = Health::note;
    finding.text += ": clocks follow the load, and times with them";
    finding.remedy =
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
  }
  return finding;
}

/// Processors that a container may use, by its quota of time; 0: no limit.
double quota(const fs::path& root) {
  double most = 0, period = 0;
  std::ifstream stream(root / "sys/fs/cgroup/cpu.max");
  if (!(stream >> most >> period) || !(period > 0)) return 0;  // absent, or "max"
  return most / period;
}

/// The times of equal pieces of work, one after the other until `end`.
std::vector<double> spin(const std::atomic<bool>& begin, double seconds) {
  while (!begin) std::this_thread::yield();
  std::vector<double> times;
  std::uint64_t state = 1;
  const auto start = Clock::now();
  for (auto last = start; std::chrono::duration<double>(last - start).count() < seconds;) {
    for (int i = 0; i < 200000; ++i) state = state * 6364136223846793005ULL + 1;  // 0.3 ms or so
    [[maybe_unused]] const volatile std::uint64_t keep = state;
    const auto now = Clock::now();
    times.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
  }
  return times;
}

}  // namespace

std::vector<Finding> examine_processor(const fs::path& root) {
  const std::vector<std::string> isas = cpu_isas();
  std::vector<Finding> findings{
      {"Processor",
       "instructions",
       Health::ok,
       fmt::format("{}, the best of {}", isas.front(), fmt::join(isas, ", ")),
       {}}};
  const int usable = cpu::usable_threads();
  const auto all = int(std::max(1U, std::thread::hardware_concurrency()));
  Finding threads{"Processor", "threads", Health::ok, fmt::format("{} may be used", usable), {}};
  if (const double limit = quota(root); limit > 0 && limit < usable) {
    threads.health = Health::note;
    threads.text += fmt::format(
        ", but the container has the time of {:.3g} processors: threads are "
        "stopped in turn",
        limit);
    threads.remedy =
        fmt::format("--threads {}, or give the container whole processors (--cpuset-cpus)",
                    std::max(1, int(limit)));
  } else if (usable < all) {
    threads.text += fmt::format(" of {} (affinity)", all);
  }
  findings.push_back(threads);
  return findings;
}

std::vector<Finding> examine_settings(const fs::path& root) {
  std::vector<Finding> findings;
  const std::string modes = first_line(root / "sys/kernel/mm/transparent_hugepage/enabled");
  if (!modes.empty()) findings.push_back(huge_pages(modes));
  std::error_code error;
  if (fs::exists(root / "sys/devices/system/cpu", error))
    findings.push_back(frequency(governors(root)));
  return findings;
}

Unevenness measure_unevenness(int threads, double seconds) {
  std::vector<std::vector<double>> times{std::size_t(std::max(1, threads))};
  std::atomic<bool> begin{false};
  {
    std::vector<std::jthread> running;
    for (auto& mine : times) running.emplace_back([&] { mine = spin(begin, seconds); });
    begin = true;
  }
  std::vector<double> all, medians;
  for (auto& mine : times) {
    if (mine.size() > 1) mine.erase(mine.begin());  // its clock was still rising
    medians.push_back(bench::median(mine));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::sort(all.begin(), all.end());
  const auto [fastest, slowest] = std::minmax_element(medians.begin(), medians.end());
  return {int(all.size()), all[all.size() * 95 / 100] / bench::median(all) - 1,
          *slowest / *fastest - 1};
}

Finding judge(const Unevenness& seen) {
  constexpr double kEven = 0.05, kAlike = 0.10;
  Finding finding{"Noise", "spin", Health::ok, {}, {}};
  finding.text =
      fmt::format("{} equal pieces of work: one in twenty took {} the median or more", seen.pieces,
                  seen.slow_part < 1 ? fmt::format("{:.0f} % longer than", 100 * seen.slow_part)
                                     : fmt::format("{:.1f} times", 1 + seen.slow_part));
  if (!(seen.slow_part <= kEven)) {
    finding.health = Health::note;
    finding.remedy =
        "end other programs; on a shared machine give bench more --budget and compare "
        "ratios of one run, not times across runs";
  }
  if (!(seen.slowest_core <= kAlike)) {
    finding.health = Health::note;
    finding.text += fmt::format("; threads differ by {:.0f} % (cores of two kinds, or a neighbour)",
                                100 * seen.slowest_core);
    if (finding.remedy.empty())
      finding.remedy = "taskset to cores of one kind, or --threads with as many as are alike";
  }
  return finding;
}

}  // namespace metalconv::cli
