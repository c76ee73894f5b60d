// SPDX-License-Identifier: Apache-2.0
// Choosing among the instruction sets that one source file was compiled for.
//
// A kernel file includes itself once per Highway target (hwy/foreach_target.h) and defines in each
// a a function that returns a table whose table has a member `std::int64_t target =
// HWY_TARGET`. Highway would dispatch through one choice a process; a device here makes its own.
#pragma once

#include "cpu/isa_targets.h"  // first

#include <hwy/targets.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace metalconv::cpu {

/// Our name of a Highway target: avx512, avx2, sse4, neon, or scalar for any other.
std::string_view isa_name(std::int64_t target);

/// Asked of Highway once: it asks the processor, and a virtual machine traps that, some 20 us each.
inline std::int64_t supported_targets() {
  static const std::int64_t targets = hwy::SupportedTargets();
  return targets;
}

/// The tables of a kernel file that this machine can run, best first, one a name. `entries` is the
/// HWY_DISPATCH_TABLE of the function of the file; an entry that dispatches by itself only repeats
/// another.
template <class Kernels, std::size_t kEntries>
std::vector<const Kernels*> runnable(const Kernels* (*const (&entries)[kEntries])()) {
  std::vector<const Kernels*> tables;
  for (const auto entry : entries) {
    const Kernels* table = entry ? entry() : nullptr;
    if (table && (table->target & supported_targets())) tables.push_back(table);
  }
  // Highway gives better targets lower bits.
  std::sort(tables.begin(), tables.end(),
            [](const Kernels* a, const Kernels* b) { return a->target < b->target; });
  const auto same_name = [](const Kernels* a, const Kernels* b) {
    return isa_name(a->target) == isa_name(b->target);
  };
  tables.erase(std::unique(tables.begin(), tables.end(), same_name), tables.end());
  return tables;
}

/// The table for `isa`, one of supported_isas().
template <class Kernels, std::size_t kEntries>
const Kernels& kernels_for(std::string_view isa, const Kernels* (*const (&entries)[kEntries])()) {
  const auto tables = runnable(entries);
  for (const Kernels* table : tables)
    if (isa_name(table->target) == isa) return *table;
  return *tables.front();
}

}  // namespace metalconv::cpu
