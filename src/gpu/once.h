// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>

namespace metalconv::gpu {

/// What was made, by key, and is kept. Threads that want the same thing at once wait for the first
/// of them; others make theirs meanwhile, so that compilers run side by side.
template <class Key, class Value>
class Once {
 public:
  /// What `make` returned for this key, now or before. When it throws, the next may try again.
  template <class Make>
  Value& get(const Key& key, const Make& make) {
    Slot& slot = slot_of(key);
    const std::lock_guard lock(slot.mutex);
    if (!slot.value) slot.value = make();
    return *slot.value;
  }

 private:
  struct Slot {
    std::mutex mutex;
    std::unique_ptr<Value> value;
  };
  Slot& slot_of(const Key& key) {
    const std::lock_guard lock(mutex_);
    return slots_[key];
  }

  std::mutex mutex_;
  std::map<Key, Slot> slots_;  // addresses stay valid
};

}  // namespace metalconv::gpu
