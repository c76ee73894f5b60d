// SPDX-License-Identifier: Apache-2.0
#include "metal_standin/objc.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>

#include "metal_standin/control.h"

namespace metalconv::standin {
namespace {

struct Runtime {
  std::recursive_mutex lock;
  std::map<std::string, Class*, std::less<>> classes;
  std::set<std::string, std::less<>> selectors;
  std::map<std::string, int> live;
  std::vector<std::unique_ptr<Object>> dead;
  std::vector<std::string> misuses;
};

Runtime& runtime() {
  static auto* the = new Runtime;  // outlives every static object that may still send messages
  return *the;
}

/// Of each open pool, outermost first, what it will release.
thread_local std::vector<std::vector<Object*>> open_pools;

[[noreturn]] void unrecognized(const Object& receiver, bool is_class, std::string_view selector) {
  const std::string& name =
      is_class ? static_cast<const Class&>(receiver).name() : receiver.isa().name();
  std::fprintf(stderr, "unrecognized selector: %c[%s %.*s] on macOS %d\n", is_class ? '+' : '-',
               name.c_str(), int(selector.size()), selector.data(), machine().macos);
  std::abort();
}

/// For messages to the dead: does nothing and answers nil.
long ignore(Object*, Selector) { return 0; }

}  // namespace

Object::Object(Class& isa) : isa_(isa) {
  const std::lock_guard hold(runtime().lock);
  ++runtime().live[isa.name()];
}

bool Object::dead() const {
  const std::lock_guard hold(runtime().lock);
  return count_ == 0;
}

void Object::retain() {
  const std::lock_guard hold(runtime().lock);
  ++count_;
}

void Object::release() {
  {
    const std::lock_guard hold(runtime().lock);
    if (--count_ > 0) return;
    --runtime().live[isa_.name()];
  }
  dispose();
  const std::lock_guard hold(runtime().lock);
  runtime().dead.emplace_back(this);
}

Class::Class(const char* name, Class* parent)
    : Object(*this, Immortal{}), name_(name), parent_(parent) {
  const std::lock_guard hold(runtime().lock);
  runtime().classes[name_] = this;
}

const Class::Method* Class::find(std::string_view selector, bool of_class) const {
  const Methods& methods = of_class ? class_ : instance_;
  const auto found = methods.find(selector);
  if (found != methods.end()) return &found->second;
  return parent_ ? parent_->find(selector, of_class) : nullptr;
}

Class* Class::look_up(std::string_view name) {
  const std::lock_guard hold(runtime().lock);
  const auto found = runtime().classes.find(name);
  return found == runtime().classes.end() ? nullptr : found->second;
}

Object* autorelease(Object* object) {
  if (!object) return nullptr;
  if (open_pools.empty())
    report_misuse(object->isa().name() + " autoreleased without a pool: it leaks");
  else
    open_pools.back().push_back(object);
  return object;
}

std::size_t push_pool() {
  open_pools.emplace_back();
  return open_pools.size() - 1;
}

void pop_pool(std::size_t pool) {
  if (pool >= open_pools.size()) return report_misuse("an autorelease pool ends twice");
  while (open_pools.size() > pool) {
    const auto objects = std::move(open_pools.back());
    open_pools.pop_back();
    for (Object* object : objects) {
      if (object->dead())
        report_misuse("release sent by a pool to a dead " + object->isa().name());
      else
        object->release();
    }
  }
}

void report_misuse(const std::string& sentence) {
  const std::lock_guard hold(runtime().lock);
  runtime().misuses.push_back(sentence);
}

std::string live_objects() {
  const std::lock_guard hold(runtime().lock);
  std::string text;
  for (const auto& [name, count] : runtime().live)
    if (count != 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return text;
}

std::vector<std::string> take_misuses() {
  const std::lock_guard hold(runtime().lock);
  return std::exchange(runtime().misuses, {});
}

void forget_dead() {
  std::vector<std::unique_ptr<Object>> dead;
  const std::lock_guard hold(runtime().lock);
  dead.swap(runtime().dead);
}

Class& root_class() {
  static Class& the = []() -> Class& {
    auto& c = *new Class("NSObject");
    c.method(
        "retain", +[](Object* self, Selector) {
          self->retain();
          return self;
        });
    c.method(
        "release", +[](Object* self, Selector) { self->release(); });
    c.method(
        "autorelease", +[](Object* self, Selector) { return autorelease(self); });
    c.method(
        "init", +[](Object* self, Selector) { return self; });
    c.method(
        "respondsToSelector:", +[](Object* self, Selector, Selector asked) {
          const Class::Method* method = self->isa().find(asked, false);
          return method && method->since <= machine().macos;
        });
    return c;
  }();
  return the;
}

}  // namespace metalconv::standin

// ------------------------------------------------- the C functions that headers and compilers call

using namespace metalconv::standin;

extern "C" {

Selector sel_registerName(const char* name);
void* objc_lookUpClass(const char* name);
void* objc_getProtocol(const char* name);
/// Called by objc_msgSend (msg_send.S): the code that answers `selector`.
MethodCode standin_find_method(Object* receiver, Selector selector);

Selector sel_registerName(const char* name) {
  const std::lock_guard hold(runtime().lock);
  return runtime().selectors.insert(name).first->c_str();
}

void* objc_lookUpClass(const char* name) { return Class::look_up(name); }

void* objc_getProtocol(const char*) { return nullptr; }

MethodCode standin_find_method(Object* receiver, Selector selector) {
  const auto* as_class = dynamic_cast<const Class*>(receiver);
  if (receiver->dead()) {
    report_misuse(std::string(selector) + " sent to a dead " + receiver->isa().name());
    return reinterpret_cast<MethodCode>(&ignore);
  }
  const Class& isa = as_class ? *as_class : receiver->isa();
  const Class::Method* method = isa.find(selector, as_class != nullptr);
  if (!method || method->since > machine().macos)
    unrecognized(*receiver, as_class != nullptr, selector);
  return method->code;
}

}  // extern "C"
