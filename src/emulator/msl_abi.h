// SPDX-License-Identifier: Apache-2.0
// What a compiled kernel and the executor know of each other. Included by both; a kernel's shared
// object is compiled at run time, so this file also travels inside the binary.
#pragma once

#include <cstddef>
#include <cstdint>

namespace msl_abi {

struct Uint3 {
  std::uint32_t x, y, z;
};

/// What a thread can ask about itself, by the names of Metal's attributes.
struct Thread {
  Uint3 thread_position_in_grid, threadgroup_position_in_grid, thread_position_in_threadgroup;
  Uint3 threads_per_threadgroup, threadgroups_per_grid, threads_per_grid;
  std::uint32_t thread_index_in_threadgroup, thread_index_in_simdgroup;
  std::uint32_t simdgroup_index_in_threadgroup, simdgroups_per_threadgroup, threads_per_simdgroup;
};

inline constexpr unsigned kMaxBuffers = 31;  // Metal's own limit

struct Arguments {
  void* buffers[kMaxBuffers];
};

/// A kernel in its shared object, which exports it as msl_kernel_<name>.
struct KernelEntry {
  void (*run)(const Arguments&, const Thread&);
  std::uint32_t max_threads;  // 0: the device's limit
};

/// A place in the .metal source.
struct Place {
  const char* file;
  int line;
};

/// What lanes of a simdgroup do together.
enum class Rendezvous {
  exchange,   // publish a value; lanes that have returned are simply not there
  matrix,     // the same, but all 32 lanes must take part
  barrier,    // simdgroup_barrier that orders memory
  execution,  // simdgroup_barrier(mem_none)
};

inline constexpr std::size_t kMaxExchange = 64;  // bytes: a 16-element vector of floats

/// Services of the executor to a running kernel. The shared object's `msl_executor` points here.
struct Executor {
  const Thread& (*thread)();
  void (*threadgroup_barrier)(bool orders_memory, Place);
  /// Returns when every lane of the simdgroup that still runs is here.
  void (*meet)(Rendezvous, const void* value, std::size_t bytes, Place);
  /// The value that a lane brought to the last meeting; false when it was not there.
  bool (*read_lane)(std::uint32_t lane, void* value, std::size_t bytes);
  /// The threadgroup's block for the declaration that `key` identifies.
  void* (*threadgroup_memory)(const void* key, std::size_t bytes, std::size_t alignment,
                              const char* name, Place);
};

}  // namespace msl_abi
