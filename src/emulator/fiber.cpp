// SPDX-License-Identifier: Apache-2.0
#include "emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>

#include "emulator/sanitizers.h"
#include "metalconv/error.h"

namespace metalconv::emulator {

// The raw switch of Boost.Context: boost::context::fiber would unwind an abandoned fiber by an
// exception through kernel code, which is compiled without exceptions.
namespace context = boost::context::detail;

namespace {

/// Address space, not memory: pages are mapped when touched. AddressSanitizer's frames are larger.
constexpr std::size_t kStackBytes = std::size_t(kAsan || kTsan ? 512 : 256) << 10;
constexpr std::size_t kColorBytes = 256, kColors = 16;

/// The lowest page is a guard: an overflow faults instead of writing into the next stack.
class Stack {
 public:
  explicit Stack(std::size_t color)
      : memory_(static_cast<char*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
        guard_(std::size_t(sysconf(_SC_PAGESIZE))),
        bytes_(kStackBytes - guard_ - color % kColors * kColorBytes) {
    if (memory_ == MAP_FAILED || mprotect(memory_, guard_, PROT_NONE) != 0)
      throw Error(ErrorCode::too_large, "the emulator cannot map another thread's stack of " +
                                            std::to_string(kStackBytes) + " bytes");
  }
  ~Stack() { munmap(memory_, kStackBytes); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  char* bottom() const { return memory_ + guard_; }
  char* top() const { return bottom() + bytes_; }
  std::size_t bytes() const { return bytes_; }

 private:
  char* memory_;
  std::size_t guard_, bytes_;
};

}  // namespace

struct Fiber::Impl {
  explicit Impl(std::size_t color) : stack(color) {}

  Stack stack;
  Body body = nullptr;
  void* argument = nullptr;
  bool suspended = false;  // in the middle of its body
  context::fcontext_t self = nullptr, resumer = nullptr;

  // What the sanitizers know of both sides.
  void *fake_stack = nullptr, *resumer_fake_stack = nullptr;
  const void* resumer_stack = nullptr;
  std::size_t resumer_stack_bytes = 0;
  void *tsan = nullptr, *resumer_tsan = nullptr;

  static void entry(context::transfer_t transfer);
  void leave(bool for_good);
};

/// The first function on the new stack.
void Fiber::Impl::entry(context::transfer_t transfer) {
  auto* fiber = static_cast<Impl*>(transfer.data);
  fiber->resumer = transfer.fctx;
  asan_arrive(nullptr, &fiber->resumer_stack, &fiber->resumer_stack_bytes);
  fiber->body(fiber->argument);
  fiber->leave(true);
  std::abort();  // a finished fiber is never resumed without prepare()
}

void Fiber::Impl::leave(bool for_good) {
  suspended = !for_good;
  asan_leave(for_good ? nullptr : &fake_stack, resumer_stack, resumer_stack_bytes);
  tsan_switch(resumer_tsan);
  resumer = context::jump_fcontext(resumer, nullptr).fctx;
  asan_arrive(fake_stack, &resumer_stack, &resumer_stack_bytes);
}

Fiber::Fiber(std::size_t color) : impl_(std::make_unique<Impl>(color)) {
  impl_->tsan = tsan_create_fiber();
}

Fiber::~Fiber() {
  tsan_destroy_fiber(impl_->tsan);
  asan_unpoison(impl_->stack.bottom(), impl_->stack.bytes());
}

void Fiber::prepare(Body body, void* argument) {
  Impl& f = *impl_;
  if (f.suspended) {  // its frames are abandoned; ThreadSanitizer would keep their call stack
    tsan_destroy_fiber(f.tsan);
    f.tsan = tsan_create_fiber();
    f.suspended = false;
  }
  asan_unpoison(f.stack.bottom(), f.stack.bytes());
  f.body = body;
  f.argument = argument;
  f.fake_stack = nullptr;
  f.self = context::make_fcontext(f.stack.top(), f.stack.bytes(), Impl::entry);
}

void Fiber::resume() {
  Impl& f = *impl_;
  f.resumer_tsan = tsan_current_fiber();
  asan_leave(&f.resumer_fake_stack, f.stack.bottom(), f.stack.bytes());
  tsan_switch(f.tsan);
  f.self = context::jump_fcontext(f.self, &f).fctx;
  asan_arrive(f.resumer_fake_stack, nullptr, nullptr);
}

void Fiber::suspend() { impl_->leave(false); }

}  // namespace metalconv::emulator
