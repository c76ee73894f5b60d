// SPDX-License-Identifier: Apache-2.0
// The functions that a compiler calls for Objective-C with automatic reference counting, and
// exceptions, as far as vendor.mm needs them.
#include <cxxabi.h>

#include <cstdlib>
#include <typeinfo>

#include "metal_standin/foundation.h"
#include "metal_standin/graph.h"

using namespace metalconv::standin;

namespace {

/// What travels as a C++ exception when an NSException is raised.
struct Raised {
  ExceptionObject* exception;
};

}  // namespace

/// The type of a @catch clause: the compiler lays such objects out, with our table of virtual
/// functions, and the personality of C++ asks them what they catch.
class ObjcEhType : public std::type_info {
 public:
  explicit ObjcEhType(const char* name) : std::type_info(name) {}
  ~ObjcEhType() override;
  bool __do_catch(const std::type_info* thrown, void** object, unsigned) const override {
    if (*thrown != typeid(Raised)) return false;
    *object = static_cast<Raised*>(*object)->exception;
    return true;
  }
};
ObjcEhType::~ObjcEhType() = default;

__asm__(".globl objc_ehtype_vtable\n.set objc_ehtype_vtable, _ZTV10ObjcEhType\n");
// Its cleanups and catches are those of C++.
__asm__(
    ".text\n.globl __objc_personality_v0\n.type __objc_personality_v0, @function\n"
    "__objc_personality_v0: jmp __gxx_personality_v0@PLT\n");

namespace metalconv::standin {

void raise(const std::string& reason) {
  auto* exception = new ExceptionObject(reason);
  autorelease(exception);
  throw Raised{exception};
}

}  // namespace metalconv::standin

extern "C" {

void objc_msgSend();

Object* objc_alloc(Class* of);
Object* objc_retain(Object* object);
void objc_release(Object* object);
Object* objc_autoreleaseReturnValue(Object* object);
Object* objc_retainAutoreleasedReturnValue(Object* object);
Object* objc_unsafeClaimAutoreleasedReturnValue(Object* object);
void objc_storeStrong(Object** place, Object* object);
std::size_t objc_autoreleasePoolPush();  // to the compiler, a pointer
void objc_autoreleasePoolPop(std::size_t pool);
void* objc_begin_catch(void* exception);
void objc_end_catch();
void _Block_object_dispose(const void* object, int flags);  // NOLINT: the compiler's name

Object* objc_alloc(Class* of) {
  return reinterpret_cast<Object* (*)(Class*, Selector)>(&objc_msgSend)(of, "alloc");
}
Object* objc_retain(Object* object) {
  return reinterpret_cast<Object* (*)(Object*, Selector)>(&objc_msgSend)(object, "retain");
}
void objc_release(Object* object) {
  reinterpret_cast<void (*)(Object*, Selector)> (&objc_msgSend)(object, "release");
}
Object* objc_autoreleaseReturnValue(Object* object) { return autorelease(object); }
Object* objc_retainAutoreleasedReturnValue(Object* object) { return objc_retain(object); }
Object* objc_unsafeClaimAutoreleasedReturnValue(Object* object) { return object; }
void objc_storeStrong(Object** place, Object* object) {
  objc_retain(object);
  objc_release(std::exchange(*place, object));
}
std::size_t objc_autoreleasePoolPush() { return push_pool(); }
void objc_autoreleasePoolPop(std::size_t pool) { pop_pool(pool); }
// Of the methods of metal-cpp that take handlers: compiled with the rest, called by nobody.
void _Block_object_dispose(const void*, int) { std::abort(); }

void* objc_begin_catch(void* exception) { return abi::__cxa_begin_catch(exception); }
void objc_end_catch() { abi::__cxa_end_catch(); }

}  // extern "C"
