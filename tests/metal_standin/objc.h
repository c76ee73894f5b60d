// SPDX-License-Identifier: Apache-2.0
// A small Objective-C runtime: objects with retain counts, classes with methods by selector, and
// autorelease pools, kept honest: a dead object is remembered, so that a message to it is reported
// and not obeyed.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

using Selector = const char*;
using MethodCode = void (*)();

/// Makes a class that compiled Objective-C finds by its symbol, too.
#define STANDIN_CLASS(variable, name)                                      \
  extern metalconv::standin::Class variable __asm__("OBJC_CLASS_$_" name); \
  __attribute__((init_priority(150))) metalconv::standin::Class variable(  \
      name, &metalconv::standin::root_class())

namespace metalconv::standin {

class Class;

/// What an `id` points to. Memory of a dead object stays until forget_dead().
class Object {
 public:
  explicit Object(Class& isa);
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  Class& isa() const { return isa_; }
  bool dead() const;
  void retain();
  void release();

 private:
  friend class Class;
  struct Immortal {};
  Object(Class& isa, Immortal) : isa_(isa) {}
  /// Drops what the object holds; its last act.
  virtual void dispose() {}

  Class& isa_;
  long count_ = 1;  // guarded by the runtime's lock
};

/// A class, which is an object too. Classes live for ever and are not counted.
class Class : public Object {
 public:
  explicit Class(const char* name, Class* parent = nullptr);

  const std::string& name() const { return name_; }

  /// -selector, since a version of macOS.
  template <class R, class Self, class... A>
  void method(const char* selector, R (*f)(Self*, Selector, A...), int since = 0) {
    instance_[selector] = {reinterpret_cast<MethodCode>(f), since};
  }
  /// +selector
  template <class R, class... A>
  void class_method(const char* selector, R (*f)(Class*, Selector, A...), int since = 0) {
    class_[selector] = {reinterpret_cast<MethodCode>(f), since};
  }

  struct Method {
    MethodCode code = nullptr;
    int since = 0;
  };
  /// Of instances, or of the class itself; null when neither it nor a parent has any.
  const Method* find(std::string_view selector, bool of_class) const;

  static Class* look_up(std::string_view name);

 private:
  using Methods = std::map<std::string, Method, std::less<>>;
  std::string name_;
  Class* parent_;
  Methods instance_, class_;
};

/// NSObject, the parent of all.
Class& root_class();

/// Releases `object` when the innermost pool ends.
Object* autorelease(Object* object);
/// Opens a pool; its end is also the end of those opened since, which exceptions may have passed
/// by.
std::size_t push_pool();
void pop_pool(std::size_t pool);

/// Something that Apple's frameworks or their validation would not have stood for.
void report_misuse(const std::string& sentence);

/// Ownership inside the stand-in.
template <class T>
class Strong {
 public:
  Strong() = default;
  /// Takes over the count of a new object.
  static Strong adopt(T* object) {
    Strong s;
    s.object_ = object;
    return s;
  }
  explicit Strong(T* object) : object_(object) {
    if (object_) object_->retain();
  }
  Strong(const Strong& other) : Strong(other.object_) {}
  Strong(Strong&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Strong& operator=(Strong other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Strong() {
    if (object_) object_->release();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

template <class T, class... A>
T* make_autoreleased(A&&... arguments) {
  auto* object = new T(std::forward<A>(arguments)...);
  autorelease(object);
  return object;
}

}  // namespace metalconv::standin
