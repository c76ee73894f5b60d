// SPDX-License-Identifier: Apache-2.0
#include "cpu/system.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <sstream>

#ifdef __APPLE__
#include <sys/sysctl.h>

#include <thread>
#else
#include <sched.h>
#endif

// The operating systems share no interface for these facts; this file is where they differ.
namespace metalconv::cpu {

#ifdef __APPLE__

namespace {
std::size_t sysctl_size(const char* name) {
  std::size_t value = 0, size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}
}  // namespace

std::string cpu_model() {
  char name[256] = "";
  std::size_t size = sizeof name;
  return sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0 ? name : "unknown";
}
int usable_threads() { return std::max(1, int(std::thread::hardware_concurrency())); }
std::size_t available_memory() { return sysctl_size("hw.memsize") / 4 * 3; }
std::size_t core_cache() {
  return std::max<std::size_t>(sysctl_size("hw.perflevel0.l2cachesize") / 4, 1 << 20);
}
std::size_t last_level_cache() { return sysctl_size("hw.perflevel0.l2cachesize"); }

#else

namespace {

/// The value of the first "key : value" line of a /proc file; empty when there is none.
std::string proc_value(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const auto value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return {};
}

/// MemAvailable, less what a container's limit leaves.
std::size_t cgroup_limit() {
  std::ifstream limit("/sys/fs/cgroup/memory.max"), used("/sys/fs/cgroup/memory.current");
  std::size_t most = 0, now = 0;
  if (!(limit >> most)) return SIZE_MAX;  // absent, or "max"
  used >> now;
  return most > now ? most - now : 0;
}

/// Bytes of the data cache of one level as the first CPU sees it, 0 when it is hidden. Read from
/// sysfs: sysconf() multiplies by sockets that a virtual machine does not have (335 MB for 32 MB).
std::size_t cache_size(int level) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    std::ifstream level_file(folder + "level"), type_file(folder + "type"),
        size_file(folder + "size");
    int found = 0;
    std::string type;
    std::size_t kib = 0;
    if (level_file >> found && type_file >> type && size_file >> kib && found == level &&
        type != "Instruction")
      return kib * 1024;  // sysfs writes "32768K"
  }
  return 0;
}

}  // namespace

std::string cpu_model() {
  const std::string name = proc_value("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

int usable_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
}

std::size_t available_memory() {
  std::istringstream kib(proc_value("/proc/meminfo", "MemAvailable"));
  std::size_t value = 0;
  kib >> value;
  return std::min(value * 1024, cgroup_limit());
}

std::size_t core_cache() {
  const std::size_t l2 = cache_size(2);
  return l2 > 0 ? l2 : std::size_t(1) << 20;
}

std::size_t last_level_cache() { return std::max(cache_size(2), cache_size(3)); }

#endif

}  // namespace metalconv::cpu
