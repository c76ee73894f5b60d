// SPDX-License-Identifier: Apache-2.0
// Runs one threadgroup at a time: a fiber for each of its threads, switched at barriers and at
// simdgroup operations only, so that every run with one seed is the same run.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/guarded_memory.h"
#include "emulator/msl_abi.h"
#include "metalconv/emulator.h"

namespace metalconv::emulator {

/// A launch: what runs, on what, how often.
struct Work {
  msl_abi::KernelEntry kernel{};
  msl_abi::Arguments arguments{};
  msl_abi::Uint3 groups{};   // threadgroups in the grid
  msl_abi::Uint3 threads{};  // threads in a threadgroup
};

/// Keeps its fibers from group to group and from launch to launch. Used by one OS thread at a time.
class Threadgroup {
 public:
  Threadgroup(LaneOrder order, std::uint64_t seed, std::size_t memory_limit)
      : order_(order), seed_(seed), memory_limit_(memory_limit) {}

  /// Before the groups of a launch, on the OS thread that runs them.
  void begin(const Work& work);
  /// Empty, or the first rule that the kernel broke: "kernels/basic.metal:12: sentence".
  std::string run(msl_abi::Uint3 position);

  std::uint64_t switches() const { return switches_; }

  /// What a kernel's shared object calls.
  static const msl_abi::Executor& services();

 private:
  static constexpr unsigned kWidth = 32;  // lanes of a simdgroup

  enum class State : std::uint8_t { runnable, meeting, at_barrier, returned };

  struct Lane {
    explicit Lane(Threadgroup* owner, std::size_t index) : group(owner), fiber(index) {}
    Threadgroup* group;
    msl_abi::Thread thread{};
    State state = State::runnable;
    msl_abi::Place place{};  // of the barrier or simdgroup operation that it waits at
    msl_abi::Rendezvous rendezvous{};
    Fiber fiber;
  };

  /// Values are exchanged through two sets of slots in turn: a lane may bring its next value while
  /// others have not yet read the last.
  struct Simdgroup {
    struct Slots {
      std::uint32_t present = 0;  // a bit for each lane that brought a value
      std::array<std::array<unsigned char, msl_abi::kMaxExchange>, kWidth> value;
    };
    std::array<Slots, 2> slots;
    unsigned turn = 0;
    std::array<std::uint64_t, 2> sync{};  // see barrier_sync_
  };

  struct Block {
    const void* key;
    const char* name;
    msl_abi::Place place;
    GuardedMemory memory;
  };

  void start_lanes(msl_abi::Uint3 position);
  void run_to_end();
  bool release_barrier();
  void advance(unsigned simdgroup);
  bool release_meeting(unsigned simdgroup);
  void check_meeting(const Lane& first, const Lane& other);
  void resume(Lane& lane);
  std::size_t lanes_of(unsigned simdgroup) const;
  void check_canaries();
  void fail(msl_abi::Place place, const std::string& sentence);

  // On a lane's fiber.
  static void body(void* lane);
  void wait(Lane& lane, State state, msl_abi::Place place);
  void barrier(Lane& lane, bool orders_memory, msl_abi::Place place);
  void meet(Lane& lane, msl_abi::Rendezvous kind, const void* value, std::size_t bytes,
            msl_abi::Place place);
  bool read_lane(const Lane& lane, std::uint32_t source, void* value, std::size_t bytes) const;
  void* memory(Lane& lane, const void* key, std::size_t bytes, std::size_t alignment,
               const char* name, msl_abi::Place place);

  const LaneOrder order_;
  const std::uint64_t seed_;
  const std::size_t memory_limit_;

  const Work* work_ = nullptr;
  std::size_t size_ = 0;  // threads in the group
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Simdgroup> simdgroups_;
  std::vector<unsigned> lane_order_, simdgroup_order_;
  std::minstd_rand random_;
  std::vector<Block> blocks_;
  std::size_t memory_bytes_ = 0;
  std::string failure_;
  std::uint64_t switches_ = 0;

  // ThreadSanitizer's view of ordering. Barriers alternate between two variables: with one, a
  // thread that is late in leaving a barrier would also be ordered behind what others did after it,
  // which hides a missing barrier. Each takes 8 bytes, the unit of ThreadSanitizer's own
  // bookkeeping.
  std::array<std::uint64_t, 2> barrier_sync_{};
  unsigned barrier_turn_ = 0;
  std::uint64_t begin_sync_ = 0, end_sync_ = 0;
};

}  // namespace metalconv::emulator
