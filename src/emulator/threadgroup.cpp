// SPDX-License-Identifier: Apache-2.0
#include "emulator/threadgroup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

#include "emulator/sanitizers.h"

namespace metalconv::emulator {
namespace {

std::string to_string(msl_abi::Place place) { return fmt::format("{}:{}", place.file, place.line); }

bool same(msl_abi::Place a, msl_abi::Place b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

const char* describe(msl_abi::Rendezvous kind) {
  switch (kind) {
    case msl_abi::Rendezvous::matrix:
      return "a simdgroup_matrix operation";
    case msl_abi::Rendezvous::exchange:
      return "a simdgroup operation";
    case msl_abi::Rendezvous::barrier:
    case msl_abi::Rendezvous::execution:
      break;
  }
  return "a simdgroup_barrier";
}

/// memcpy would be intercepted by ThreadSanitizer, which would then see lanes race for values that
/// they exchange in lock step.
void copy_unseen(void* to, const void* from, std::size_t bytes) {
  if (!kTsan && bytes > 0) {
    std::memcpy(to, from, bytes);
    return;
  }
  auto* t = static_cast<volatile unsigned char*>(to);
  auto* f = static_cast<const volatile unsigned char*>(from);
  for (std::size_t i = 0; i < bytes; ++i) t[i] = f[i];
}

}  // namespace

// ---------------------------------------------------------------------------- the scheduler's side

void Threadgroup::begin(const Work& work) {
  work_ = &work;
  size_ = std::size_t(work.threads.x) * work.threads.y * work.threads.z;
  while (lanes_.size() < size_) lanes_.push_back(std::make_unique<Lane>(this, lanes_.size()));
  simdgroups_.resize((size_ + kWidth - 1) / kWidth);
  simdgroup_order_.resize(simdgroups_.size());
  std::iota(simdgroup_order_.begin(), simdgroup_order_.end(), 0u);
  lane_order_.resize(kWidth);
  std::iota(lane_order_.begin(), lane_order_.end(), 0u);
  if (order_ == LaneOrder::reversed) {
    std::reverse(simdgroup_order_.begin(), simdgroup_order_.end());
    std::reverse(lane_order_.begin(), lane_order_.end());
  }
  switches_ = 0;
  tsan_release(&begin_sync_);
}

std::string Threadgroup::run(msl_abi::Uint3 position) {
  failure_.clear();
  start_lanes(position);
  run_to_end();
  tsan_acquire(&end_sync_);
  if (failure_.empty()) check_canaries();
  blocks_.clear();
  memory_bytes_ = 0;
  if (!failure_.empty())
    failure_ += fmt::format(" (threadgroup {}, {}, {})", position.x, position.y, position.z);
  return failure_;
}

void Threadgroup::start_lanes(msl_abi::Uint3 position) {
  const msl_abi::Uint3 t = work_->threads, g = work_->groups;
  // The same for a group whichever OS thread runs it.
  random_.seed(std::minstd_rand::result_type(
      seed_ + position.x + std::uint64_t(g.x) * (position.y + std::uint64_t(g.y) * position.z)));
  for (std::uint32_t i = 0; i < size_; ++i) {
    Lane& lane = *lanes_[i];
    const msl_abi::Uint3 p{i % t.x, i / t.x % t.y, i / t.x / t.y};
    msl_abi::Thread& thread = lane.thread;
    thread.thread_position_in_grid = {position.x * t.x + p.x, position.y * t.y + p.y,
                                      position.z * t.z + p.z};
    thread.threadgroup_position_in_grid = position;
    thread.thread_position_in_threadgroup = p;
    thread.threads_per_threadgroup = t;
    thread.threadgroups_per_grid = g;
    thread.threads_per_grid = {g.x * t.x, g.y * t.y, g.z * t.z};
    thread.thread_index_in_threadgroup = i;
    thread.thread_index_in_simdgroup = i % kWidth;
    thread.simdgroup_index_in_threadgroup = i / kWidth;
    thread.simdgroups_per_threadgroup = std::uint32_t(simdgroups_.size());
    thread.threads_per_simdgroup = kWidth;
    lane.state = State::runnable;
    lane.fiber.prepare(body, &lane);
  }
}

/// Each simdgroup in turn until all its lanes wait at a barrier or have returned, then the barrier.
void Threadgroup::run_to_end() {
  do {
    if (order_ == LaneOrder::shuffled)
      std::shuffle(simdgroup_order_.begin(), simdgroup_order_.end(), random_);
    for (const unsigned s : simdgroup_order_) {
      advance(s);
      if (!failure_.empty()) return;
    }
  } while (release_barrier());
}

/// False when no lane waits at a barrier, or when not all do.
bool Threadgroup::release_barrier() {
  const auto end = lanes_.begin() + std::ptrdiff_t(size_);
  const auto waits = [](const auto& lane) { return lane->state == State::at_barrier; };
  const auto first = std::find_if(lanes_.begin(), end, waits);
  if (first == end) return false;
  const msl_abi::Place place = (*first)->place;
  const auto missing = std::size_t(end - lanes_.begin() - std::count_if(first, end, waits));
  if (missing > 0) {
    fail(place, fmt::format("threadgroup_barrier is not reached by {} of {} threads, which have "
                            "returned",
                            missing, size_));
    return false;
  }
  for (auto lane = first; lane != end; ++lane) {
    if (!same((*lane)->place, place)) {
      fail(place, "threadgroup_barrier is reached by some threads while others wait at that in " +
                      to_string((*lane)->place));
      return false;
    }
    (*lane)->state = State::runnable;
  }
  barrier_turn_ ^= 1;
  return true;
}

void Threadgroup::advance(unsigned simdgroup) {
  const std::size_t first = simdgroup * kWidth, count = lanes_of(simdgroup);
  do {
    if (order_ == LaneOrder::shuffled)
      std::shuffle(lane_order_.begin(), lane_order_.end(), random_);
    for (const unsigned i : lane_order_) {
      if (i >= count || lanes_[first + i]->state != State::runnable) continue;
      resume(*lanes_[first + i]);
      if (!failure_.empty()) return;
    }
  } while (release_meeting(simdgroup));
}

/// False when no lane of the simdgroup waits for the others, or when they are not all there.
bool Threadgroup::release_meeting(unsigned simdgroup) {
  const std::size_t begin = simdgroup * kWidth, end = begin + lanes_of(simdgroup);
  const Lane* first = nullptr;
  std::size_t present = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const Lane& lane = *lanes_[i];
    if (lane.state != State::meeting) continue;
    if (!first) first = &lane;
    ++present;
  }
  if (!first) return false;
  for (std::size_t i = begin; i < end; ++i) check_meeting(*first, *lanes_[i]);
  if (first->rendezvous == msl_abi::Rendezvous::matrix && present < kWidth)
    fail(first->place, fmt::format("a simdgroup_matrix operation needs all {} lanes of its "
                                   "simdgroup, and only {} are there",
                                   kWidth, present));
  if (!failure_.empty()) return false;
  Simdgroup& group = simdgroups_[simdgroup];
  group.turn ^= 1;
  group.slots[group.turn].present = 0;
  for (std::size_t i = begin; i < end; ++i)
    if (lanes_[i]->state == State::meeting) lanes_[i]->state = State::runnable;
  return true;
}

void Threadgroup::check_meeting(const Lane& first, const Lane& other) {
  if (other.state == State::at_barrier)
    fail(first.place, fmt::format("{} is reached by some lanes of a simdgroup while others wait at "
                                  "the threadgroup_barrier in {}",
                                  describe(first.rendezvous), to_string(other.place)));
  if (other.state == State::meeting &&
      (!same(first.place, other.place) || first.rendezvous != other.rendezvous))
    fail(first.place, fmt::format("{} is reached by some lanes of a simdgroup while others wait at "
                                  "{} in {}",
                                  describe(first.rendezvous), describe(other.rendezvous),
                                  to_string(other.place)));
}

std::size_t Threadgroup::lanes_of(unsigned simdgroup) const {
  return std::min<std::size_t>(kWidth, size_ - simdgroup * kWidth);
}

void Threadgroup::check_canaries() {
  for (const Block& block : blocks_) {
    const auto overrun = block.memory.overrun();
    if (overrun == GuardedMemory::Overrun::none) continue;
    fail(block.place, fmt::format("threadgroup memory {} '{}' was written, which is declared here "
                                  "with {} bytes",
                                  to_string(overrun), block.name, block.memory.bytes()));
  }
}

/// The first failure counts: the rest may follow from it.
void Threadgroup::fail(msl_abi::Place place, const std::string& sentence) {
  if (failure_.empty()) failure_ = to_string(place) + ": " + sentence;
}

// --------------------------------------------------------------------------------- a lane's side

namespace {
// Which lane the calling OS thread is running. Kernels call for it from any depth.
thread_local void* t_lane = nullptr;
}  // namespace

void Threadgroup::resume(Lane& lane) {
  ++switches_;
  t_lane = &lane;
  lane.fiber.resume();
  t_lane = nullptr;
}

void Threadgroup::body(void* argument) {
  Lane& lane = *static_cast<Lane*>(argument);
  Threadgroup& group = *lane.group;
  tsan_acquire(&group.begin_sync_);
  group.work_->kernel.run(group.work_->arguments, lane.thread);
  lane.state = State::returned;
  tsan_release(&group.end_sync_);
}

void Threadgroup::wait(Lane& lane, State state, msl_abi::Place place) {
  lane.state = state;
  lane.place = place;
  tsan_release(&end_sync_);  // if another lane fails, this was its end
  lane.fiber.suspend();
}

void Threadgroup::barrier(Lane& lane, bool orders_memory, msl_abi::Place place) {
  void* const sync = &barrier_sync_[barrier_turn_];
  if (orders_memory) tsan_release(sync);
  wait(lane, State::at_barrier, place);
  if (orders_memory) tsan_acquire(sync);
}

void Threadgroup::meet(Lane& lane, msl_abi::Rendezvous kind, const void* value, std::size_t bytes,
                       msl_abi::Place place) {
  Simdgroup& group = simdgroups_[lane.thread.simdgroup_index_in_threadgroup];
  Simdgroup::Slots& slots = group.slots[group.turn];
  const std::uint32_t index = lane.thread.thread_index_in_simdgroup;
  copy_unseen(slots.value[index].data(), value, bytes);
  slots.present |= 1u << index;
  void* const sync = &group.sync[group.turn];
  const bool orders_memory = kind == msl_abi::Rendezvous::barrier;
  if (orders_memory) tsan_release(sync);
  lane.rendezvous = kind;
  wait(lane, State::meeting, place);
  if (orders_memory) tsan_acquire(sync);
}

bool Threadgroup::read_lane(const Lane& lane, std::uint32_t source, void* value,
                            std::size_t bytes) const {
  const Simdgroup& group = simdgroups_[lane.thread.simdgroup_index_in_threadgroup];
  const Simdgroup::Slots& slots = group.slots[group.turn ^ 1];
  if (source >= kWidth || !(slots.present >> source & 1)) return false;
  copy_unseen(value, slots.value[source].data(), bytes);
  return true;
}

void* Threadgroup::memory(Lane& lane, const void* key, std::size_t bytes, std::size_t alignment,
                          const char* name, msl_abi::Place place) {
  for (const Block& block : blocks_) {
    if (block.key != key) continue;
    tsan_acquire(block.memory.data());
    return block.memory.data();
  }
  constexpr std::size_t kGranule = 16;  // each declaration begins on a multiple of it
  memory_bytes_ += (bytes + kGranule - 1) / kGranule * kGranule;
  if (memory_bytes_ > memory_limit_) {
    fail(place, fmt::format("threadgroup memory is {} bytes with '{}', but at most {} are allowed",
                            memory_bytes_, name, memory_limit_));
    wait(lane, State::returned, place);  // for good: what the lane would do next has no meaning
  }
  GuardedMemory memory(bytes, alignment);
  memory.poison();
  tsan_release(memory.data());  // other threads may use it, and are ordered behind nothing else
  blocks_.push_back({key, name, place, std::move(memory)});
  return blocks_.back().memory.data();
}

const msl_abi::Executor& Threadgroup::services() {
  static constexpr auto self = [] { return static_cast<Lane*>(t_lane); };
  static constexpr msl_abi::Executor kServices = {
      .thread = []() -> const msl_abi::Thread& { return self()->thread; },
      .threadgroup_barrier =
          [](bool orders_memory, msl_abi::Place place) {
            self()->group->barrier(*self(), orders_memory, place);
          },
      .meet = [](msl_abi::Rendezvous kind, const void* value, std::size_t bytes,
                 msl_abi::Place place) { self()->group->meet(*self(), kind, value, bytes, place); },
      .read_lane =
          [](std::uint32_t lane, void* value, std::size_t bytes) {
            return self()->group->read_lane(*self(), lane, value, bytes);
          },
      .threadgroup_memory =
          [](const void* key, std::size_t bytes, std::size_t alignment, const char* name,
             msl_abi::Place place) {
            return self()->group->memory(*self(), key, bytes, alignment, name, place);
          },
  };
  return kServices;
}

}  // namespace metalconv::emulator
