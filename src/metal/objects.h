// SPDX-License-Identifier: Apache-2.0
// Short forms for Apple's objects. Ownership: Owned for what we keep, a Pool in every function that
// is given autoreleased objects.
#pragma once

#include <fmt/format.h>

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <memory>
#include <string>

namespace metalconv::metal {

struct Release {
  template <class T>
  void operator()(T* object) const {
    object->release();
  }
};

/// NS::SharedPtr without its calls on null pointers.
template <class T>
using Owned = std::unique_ptr<T, Release>;

/// Takes over the count of an object that was made by new, alloc or Create, or nothing.
template <class T>
Owned<T> adopt(T* object) {
  return Owned<T>(object);
}

template <class T>
Owned<T> retain(T* object) {
  return adopt(object ? object->retain() : nullptr);
}

/// Releases what was autoreleased in its scope.
class Pool {
 public:
  Pool() : pool_(NS::AutoreleasePool::alloc()->init()) {}
  ~Pool() { pool_->release(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

inline NS::String* to_ns(const std::string& text) {
  return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}

inline std::string to_std(const NS::String* text) { return text ? text->utf8String() : ""; }

/// The framework's own words, with its domain and code.
inline std::string words(const NS::Error* error) {
  if (!error) return "no reason given";
  return fmt::format("{} ({} {})", to_std(error->localizedDescription()), to_std(error->domain()),
                     error->code());
}

}  // namespace metalconv::metal
