// dlopen(3) without RTLD_DEEPBIND.
//
// A library that is loaded with that flag finds the C library's functions before the preloaded ones, and would use the
// kernel's queues unnoticed; PHP loads each extension so. The flag is dropped. A library loaded into a namespace of its
// own (dlmopen(3) with LM_ID_NEWLM) brings a C library of its own along, which nothing is loaded before: one line says so.
//
// dlopen(3) and dlmopen(3) look at their return address: whose RUNPATH, $ORIGIN and namespace are searched. So each
// function here is a jump to the C library's, after which the caller is still the caller.
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include <atomic>

extern "C" {

__attribute__((visibility("hidden"), used)) void* mqueuefs_find_dlopen() { return dlsym(RTLD_NEXT, "dlopen"); }

__attribute__((visibility("hidden"), used)) void* mqueuefs_find_dlmopen(Lmid_t link_map) {
  static constinit std::atomic<bool> said{false};
  if (link_map == LM_ID_NEWLM && !said.exchange(true)) {
    dprintf(STDERR_FILENO, "mqueuefs: a library is loaded with a C library of its own (dlmopen): its message queues are the "
                           "kernel's; use mqueuefs run --via seccomp\n");
  }
  return dlsym(RTLD_NEXT, "dlmopen");
}

}  // extern "C"

// RTLD_DEEPBIND is 8, bit 3 of the last argument.
#if defined(__x86_64__)
asm(R"(
  .text
  .globl dlopen
  .type dlopen, @function
dlopen:
  endbr64
  pushq %rdi
  pushq %rsi
  subq $8, %rsp
  call mqueuefs_find_dlopen
  addq $8, %rsp
  popq %rsi
  popq %rdi
  andl $~8, %esi
  jmpq *%rax
  .size dlopen, . - dlopen

  .globl dlmopen
  .type dlmopen, @function
dlmopen:
  endbr64
  pushq %rdi
  pushq %rsi
  pushq %rdx
  call mqueuefs_find_dlmopen
  popq %rdx
  popq %rsi
  popq %rdi
  andl $~8, %edx
  jmpq *%rax
  .size dlmopen, . - dlmopen
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .globl dlopen
  .type dlopen, %function
dlopen:
  bti c
  stp x29, x30, [sp, #-32]!
  stp x0, x1, [sp, #16]
  bl mqueuefs_find_dlopen
  mov x16, x0
  ldp x0, x1, [sp, #16]
  ldp x29, x30, [sp], #32
  and w1, w1, #0xfffffff7
  br x16
  .size dlopen, . - dlopen

  .globl dlmopen
  .type dlmopen, %function
dlmopen:
  bti c
  stp x29, x30, [sp, #-48]!
  stp x0, x1, [sp, #16]
  str x2, [sp, #32]
  bl mqueuefs_find_dlmopen
  mov x16, x0
  ldp x0, x1, [sp, #16]
  ldr x2, [sp, #32]
  ldp x29, x30, [sp], #48
  and w2, w2, #0xfffffff7
  br x16
  .size dlmopen, . - dlmopen
)");
#else
#error "dlopen: x86-64 and arm64 are known"
#endif
