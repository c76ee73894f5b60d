// SPDX-License-Identifier: Apache-2.0
// objc_msgSend for x86-64 Linux: keeps every register that may hold an argument, asks which code
// answers the message, and jumps there. A message to nil answers zero.

__asm__(R"(
  .macro msg_send name, self, selector
  .globl \name
  .type \name, @function
\name:
  test \self, \self
  jz 1f
  push %rbp
  mov %rsp, %rbp
  sub $192, %rsp
  mov %rdi, (%rsp)
  mov %rsi, 8(%rsp)
  mov %rdx, 16(%rsp)
  mov %rcx, 24(%rsp)
  mov %r8, 32(%rsp)
  mov %r9, 40(%rsp)
  mov %rax, 48(%rsp)  # %al counts the vector registers of variadic calls
  movaps %xmm0, 64(%rsp)
  movaps %xmm1, 80(%rsp)
  movaps %xmm2, 96(%rsp)
  movaps %xmm3, 112(%rsp)
  movaps %xmm4, 128(%rsp)
  movaps %xmm5, 144(%rsp)
  movaps %xmm6, 160(%rsp)
  movaps %xmm7, 176(%rsp)
  mov \self, %r10
  mov \selector, %rsi
  mov %r10, %rdi
  call standin_find_method@PLT
  mov %rax, %r11
  mov (%rsp), %rdi
  mov 8(%rsp), %rsi
  mov 16(%rsp), %rdx
  mov 24(%rsp), %rcx
  mov 32(%rsp), %r8
  mov 40(%rsp), %r9
  mov 48(%rsp), %rax
  movaps 64(%rsp), %xmm0
  movaps 80(%rsp), %xmm1
  movaps 96(%rsp), %xmm2
  movaps 112(%rsp), %xmm3
  movaps 128(%rsp), %xmm4
  movaps 144(%rsp), %xmm5
  movaps 160(%rsp), %xmm6
  movaps 176(%rsp), %xmm7
  leave
  jmp *%r11
1:
  xor %eax, %eax
  xor %edx, %edx
  pxor %xmm0, %xmm0
  ret
  .size \name, . - \name
  .endm

  .text
  msg_send objc_msgSend, %rdi, %rsi
  msg_send objc_msgSend_fpret, %rdi, %rsi
  # Structures of more than 16 bytes are returned through a pointer, which comes first.
  msg_send objc_msgSend_stret, %rsi, %rdx
)");
