// SPDX-License-Identifier: Apache-2.0
// Wisdom: which kernel was measured to be the fastest for a problem on a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metalconv/device.h"
#include "metalconv/problem.h"

namespace metalconv {

/// What was measured for one problem on one machine.
struct WisdomEntry {
  std::string machine;                     ///< machine_key of the device; shipped: hardware_key
  std::string problem;                     ///< to_text of the problem
  std::string kernel;                      ///< the row of `optimized` that won; it has a time below
  std::map<std::string, double> times_us;  ///< microseconds of each kernel that was measured

  /// Equal in every field.
  bool operator==(const WisdomEntry&) const = default;
};

/// What must be the same for a measured time to mean something: the device's name, model, compute
/// units and those of its facts that say how fast our kernels run (instruction set, threads,
/// driver, run-time compiler ...). One line of ASCII.
std::string machine_key(const DeviceInfo& info);
/// The same without what an update changes (driver, run-time compiler, operating system ...), which
/// moves times by little: what shipped choices are found by.
std::string hardware_key(const DeviceInfo& info);

/// Measured choices that the planner prefers to its estimate: see PlanOptions::wisdom. A plain
/// value; reading it from several threads is safe.
class Wisdom {
 public:
  /// Of the file. Grows when its form changes, or when kernels change so much that earlier times
  /// mislead.
  static constexpr int kVersion = 1;
  static constexpr std::size_t kMaxEntries = 4096;                ///< the oldest go first
  static constexpr std::size_t kMaxBytes = std::size_t(4) << 20;  ///< of the file
  static constexpr std::size_t kMaxProvenanceBytes = 65536;       ///< of them, as JSON

  /// Takes the place of what was known of the same machine and problem; the oldest entry goes when
  /// there are more than kMaxEntries. Throws Error{invalid_argument} for an empty machine or
  /// problem, a time that is not above 0 and finite, or a kernel without a time.
  void record(WisdomEntry entry);
  /// Nothing is known of them from then on.
  void forget(const std::string& machine, const std::string& problem);

  /// Null when nothing is known. Valid until the next change.
  const WisdomEntry* find(const std::string& machine, const ConvProblem& problem) const;
  /// Oldest first.
  std::vector<WisdomEntry> entries() const;
  /// How many entries.
  std::size_t size() const { return entries_.size(); }
  /// Whether there are none.
  bool empty() const { return entries_.empty(); }

  /// How the times of a file that one run made came about: "date", "driver", "command" ...
  const std::map<std::string, std::string>& provenance() const { return provenance_; }
  /// Nothing reads it but people.
  void set_provenance(std::map<std::string, std::string> facts) { provenance_ = std::move(facts); }

 private:
  using Key = std::pair<std::string, std::string>;  ///< machine, problem

  std::uint64_t next_age_ = 0;
  std::map<std::uint64_t, WisdomEntry> entries_;  ///< by age, the oldest has the least
  std::map<Key, std::uint64_t> ages_;
  std::map<std::string, std::string> provenance_;
};

/// JSON of at most Wisdom::kMaxBytes, one entry a line; the oldest entries are left out if need be.
std::string to_text(const Wisdom& wisdom);
/// Throws Error{io} with a sentence on what is wrong, also for another version.
Wisdom parse_wisdom(std::string_view text);

/// What was measured on some hardware and comes with the library, a Wisdom for each file of
/// data/choices; machines are hardware_keys. See PlanOptions::shipped.
std::span<const Wisdom> shipped_choices();

/// What load_wisdom found.
struct LoadedWisdom {
  Wisdom wisdom;        ///< empty when the file was ignored
  std::string warning;  ///< why the file was ignored, one sentence; empty when it was not
};
/// No wisdom and no warning when there is no such file. A file that is damaged, too large, of
/// another version or unreadable is ignored with a warning, and never an exception.
LoadedWisdom load_wisdom(const std::string& path);

/// Write the file, whole or not at all, and make its folder. A file that load_wisdom would ignore
/// is kept as `path`.damaged, in place of one kept earlier. Returns that name, empty when there was
/// nothing to keep. Throws Error{io} naming the path.
std::string save_wisdom(const std::string& path, const Wisdom& wisdom);

}  // namespace metalconv
