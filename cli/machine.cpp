// SPDX-License-Identifier: Apache-2.0
#include "cli/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "bench/stats.h"
#include "bench/text.h"
#include "core/registry.h"
#include "version.h"

namespace metalconv::cli {
namespace {

std::string operating_system() {
  std::string name;
  std::ifstream release("/etc/os-release");
  for (std::string line; std::getline(release, line);)
    if (line.rfind("PRETTY_NAME=", 0) == 0) {
      name = line.substr(12);
      std::erase(name, '"');
    }
  utsname kernel{};
  uname(&kernel);
  if (name.empty()) return fmt::format("{} {}", kernel.sysname, kernel.release);
  return fmt::format("{}, {} {}", name, kernel.sysname, kernel.release);
}

std::string compiler() {
#ifdef __clang__
  return fmt::format("clang {}", __clang_version__);
#else
  return fmt::format("g++ {}", __VERSION__);
#endif
}

double processor_count() { return std::max(1u, std::thread::hardware_concurrency()); }

/// What made the planner choose the row's kernel; null when it was the estimate.
const Wisdom* chosen_by(const bench::Row& row, Device& device, const Wisdom& wisdom,
                        std::span<const Wisdom> shipped) {
  for (const Candidate& c : explain(device, row.problem, &wisdom, shipped))
    if (c.chosen && c.row->implementation == row.implementation && c.row->name == row.kernel)
      return c.wisdom;
  return nullptr;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> machine_block(
    const std::vector<std::unique_ptr<Device>>& devices) {
  std::vector<std::pair<std::string, std::string>> block;
  for (const auto& device : devices) {
    const DeviceInfo& info = device->info();
    block.emplace_back(info.name, info.model);
    block.emplace_back(info.name + " memory free", bench::bytes_text(double(info.memory_bytes)));
    if (info.last_level_cache_bytes > 0)
      block.emplace_back(info.name + " last-level cache",
                         bench::bytes_text(double(info.last_level_cache_bytes)));
    for (const auto& [key, value] : info.facts) block.emplace_back(info.name + " " + key, value);
  }
  block.emplace_back("operating system", operating_system());
  block.emplace_back("compiler", compiler());
  block.emplace_back("metalconv", METALCONV_VERSION);
  return block;
}

void add_wisdom(const bench::Result& result, const std::vector<Device*>& devices,
                const Wisdom& wisdom, std::span<const Wisdom> shipped,
                std::vector<std::pair<std::string, std::string>>* block) {
  int ours = 0;
  std::map<const Wisdom*, int> chosen;
  for (const bench::Row& row : result.rows)
    for (Device* device : devices)
      if (row.implementation == Implementation::optimized && row.device == device->info().name) {
        ++ours;
        ++chosen[chosen_by(row, *device, wisdom, shipped)];
      }
  if (chosen[&wisdom] > 0)
    block->emplace_back("wisdom",
                        fmt::format("{} of {} optimized kernels were chosen by earlier measurement",
                                    chosen[&wisdom], ours));
  for (const Wisdom& choices : shipped)
    if (chosen[&choices] > 0)
      block->emplace_back("shipped choices",
                          fmt::format("{} of {} optimized kernels, {}", chosen[&choices], ours,
                                      measured_text(choices)));
}

std::string measured_text(const Wisdom& shipped) {
  const auto date = shipped.provenance().find("date");
  return date == shipped.provenance().end() ? "measured" : "measured on " + date->second;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string command_line(int argc, char** argv) {
  std::string line = "metalconv";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain =
        !word.empty() && word.find_first_of(" \t\"'\\$&|;<>()*?") == std::string::npos;
    line += plain ? " " + word : " '" + word + "'";
  }
  return line;
}

/// Zeros but for `own` where the system has no /proc/stat.
NoiseWatch::Times NoiseWatch::times() {
  Times times;
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    times.own += seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::ifstream stat("/proc/stat");
  std::string word;
  stat >> word;
  double value = 0;
  // user, nice, system, idle, waiting for a disk, two kinds of interrupts, stolen
  for (int field = 0; field < 8 && stat >> value; ++field) {
    value /= double(sysconf(_SC_CLK_TCK));
    times.total += value;
    if (field == 7)
      times.stolen = value;
    else if (field != 3 && field != 4)
      times.busy += value;
  }
  return times;
}

NoiseWatch::NoiseWatch() : start_(times()) {
  double load[1] = {0};
  if (getloadavg(load, 1) == 1) load_ = load[0];
}

/// How many processors other programs kept busy. Where only the load average is known it stands
/// for that, although what ended just before the run is in it.
double NoiseWatch::others(const Times& spent) const {
  if (spent.total <= 0) return load_;
  return (spent.busy - spent.own) / spent.total * processor_count();
}

std::vector<std::string> NoiseWatch::warnings(const bench::Result& result) const {
  std::vector<std::string> warnings;
  const Times now = times();
  const Times spent{now.stolen - start_.stolen, now.busy - start_.busy, now.total - start_.total,
                    now.own - start_.own};
  if (const double busy = others(spent); busy > 0.1 * processor_count())
    warnings.push_back(
        fmt::format("Other programs kept {:.1f} of {:.0f} processors busy during the run: end them "
                    "and run it again.",
                    busy, processor_count()));
  if (const double part = spent.total > 0 ? spent.stolen / spent.total : 0; part > 0.01)
    warnings.push_back(
        fmt::format("The hypervisor gave {:.0f} % of the processor time to others: compare "
                    "ratios of this run, not times across runs.",
                    part * 100));
  const auto wide = std::count_if(result.rows.begin(), result.rows.end(), [](const bench::Row& r) {
    return r.time_us && bench::relative_half_width(*r.time_us) > 0.05;
  });
  if (wide > 0)
    warnings.push_back(
        fmt::format("{} of {} rows have an interval wider than +-5 %: give them more time "
                    "with --budget.",
                    wide, result.rows.size()));
  return warnings;
}

}  // namespace metalconv::cli
