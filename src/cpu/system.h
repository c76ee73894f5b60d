// SPDX-License-Identifier: Apache-2.0
// What the operating system says of this machine's CPU and memory.
#pragma once

#include <cstddef>
#include <string>

namespace metalconv::cpu {

std::string cpu_model();
/// Hardware threads that this process may use (affinity respected).
int usable_threads();
/// Bytes that can still be allocated without swapping.
std::size_t available_memory();
/// Bytes of the largest data cache of one core, and of the last-level cache. Where the machine
/// hides them: 1 MiB, and 0.
std::size_t core_cache();
std::size_t last_level_cache();

}  // namespace metalconv::cpu
