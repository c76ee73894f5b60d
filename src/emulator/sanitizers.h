// SPDX-License-Identifier: Apache-2.0
// What fibers must tell AddressSanitizer and ThreadSanitizer; nothing in a build without them.
//
// The executor itself is compiled without ThreadSanitizer (its own bookkeeping, shared by fibers on
// purpose, is not what we look for), so the build says METALCONV_TSAN instead of the compiler.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define METALCONV_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define METALCONV_ASAN 1
#endif
#endif

#ifdef METALCONV_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef METALCONV_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace metalconv::emulator {

#ifdef METALCONV_ASAN
inline constexpr bool kAsan = true;
inline void asan_leave(void** fake_stack, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
inline void asan_arrive(void* fake_stack, const void** from_stack, std::size_t* from_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, from_stack, from_bytes);
}
inline void asan_unpoison(void* memory, std::size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
inline constexpr bool kAsan = false;
inline void asan_leave(void**, const void*, std::size_t) {}
inline void asan_arrive(void*, const void**, std::size_t*) {}
inline void asan_unpoison(void*, std::size_t) {}
#endif

#ifdef METALCONV_TSAN
inline constexpr bool kTsan = true;
inline void* tsan_current_fiber() { return __tsan_get_current_fiber(); }
inline void* tsan_create_fiber() { return __tsan_create_fiber(0); }
inline void tsan_destroy_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void tsan_switch(void* fiber) {
  __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);  // a switch orders nothing
}
inline void tsan_acquire(void* sync) { __tsan_acquire(sync); }
inline void tsan_release(void* sync) { __tsan_release(sync); }
#else
inline constexpr bool kTsan = false;
inline void* tsan_current_fiber() { return nullptr; }
inline void* tsan_create_fiber() { return nullptr; }
inline void tsan_destroy_fiber(void*) {}
inline void tsan_switch(void*) {}
inline void tsan_acquire(void*) {}
inline void tsan_release(void*) {}
#endif

}  // namespace metalconv::emulator
