// SPDX-License-Identifier: Apache-2.0
// What `doctor` found on this machine, and how it says so.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/devices.h"
#include "metalconv/wisdom.h"

namespace metalconv::cli {

enum class Health {
  ok,
  note,    ///< works, and could be better
  absent,  ///< not here
  bad,     ///< here, and cannot be used
  wrong,   ///< computes wrongly
};
std::string_view to_string(Health);

struct Finding {
  std::string section, name;
  Health health = Health::ok;
  std::string text;    ///< what was found
  std::string remedy;  ///< how to mend it; may be empty
};

struct Examination {
  /// Operating system, compiler, version, by name.
  std::vector<std::pair<std::string, std::string>> machine;
  std::string device;  ///< what commands take when none is named; empty when none can be used
  std::vector<Finding> findings;
};

/// Each device, by computing a small problem that the gate of `verify` judges, and its vendor
/// library.
std::vector<Finding> examine_devices(const std::vector<DeviceEntry>& devices);

/// Instruction sets, threads and what limits them.
std::vector<Finding> examine_processor(const std::filesystem::path& root = "/");

/// What the system lets be set that times depend on: huge pages, frequency governor, a container's
/// share of the processors. Read from /sys below `root`; what it does not tell is left out.
std::vector<Finding> examine_settings(const std::filesystem::path& root = "/");

/// How evenly the machine runs.
struct Unevenness {
  int pieces = 0;           ///< of the same work, on all threads
  double slow_part = 0;     ///< the 95th percentile of their times over the median, less 1
  double slowest_core = 0;  ///< the largest median of a thread over the smallest, less 1
};
/// Spin on `threads` threads for about that long.
Unevenness measure_unevenness(int threads, double seconds);
Finding judge(const Unevenness& unevenness);

/// The file of measured choices at `path`, empty when it is off. `loaded` is what is in it.
Finding examine_wisdom(const std::string& path, const LoadedWisdom& loaded,
                       const std::vector<DeviceEntry>& devices);

/// 1 when a device computes wrongly, 2 when none can be used, else 0.
int exit_status(const Examination& examination);
/// For a terminal of 80 columns.
std::string to_text(const Examination& examination);
/// docs/json-schema.md says what is in it.
std::string to_json(const Examination& examination);

}  // namespace metalconv::cli
