// SPDX-License-Identifier: Apache-2.0
// Shared values by key, a bounded number of them: the one that was asked for longest ago goes
// first.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

namespace metalconv::metal {

template <class T>
class BoundedCache {
 public:
  using Value = std::shared_ptr<const T>;

  explicit BoundedCache(std::size_t capacity) : capacity_(capacity) {}

  /// The value of `key`, made by `make` when it is not there. Values in use outlive their place.
  Value get(const std::string& key, const std::function<Value()>& make) {
    {
      const std::lock_guard hold(mutex_);
      if (Value known = find(key)) return known;
    }
    Value made = make();  // without the lock: it takes long
    const std::lock_guard hold(mutex_);
    if (Value known = find(key)) return known;  // another thread was faster
    entries_.push_front({key, made});
    if (entries_.size() > capacity_) entries_.pop_back();
    return made;
  }

  std::size_t size() const {
    const std::lock_guard hold(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    std::string key;
    Value value;
  };

  /// With the lock held.
  Value find(const std::string& key) {
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entry->value;
    }
    return nullptr;
  }

  std::size_t capacity_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // latest first
};

}  // namespace metalconv::metal
