#include "seccomp/interrupted.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace mqueuefs::seccomp {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr size_t kWords = 4 * kPageBytes / sizeof(uint64_t);  // the vector registers are between frame and pointer

// A register in struct sigcontext, which words it is.
#if defined(__x86_64__)
// r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip
constexpr size_t kArguments[] = {8, 9, 12, 2, 0, 1};
constexpr size_t kResult = 13, kStack = 15, kInstruction = 16, kSize = 17;
constexpr size_t kFirstKept = 0;
constexpr uint64_t kCallBytes = 2;
uint64_t result_of_restarted(const Notification& call) { return call.number; }
#elif defined(__aarch64__)
// x0 ... x30 sp pc; the result comes in the first argument's place.
constexpr size_t kArguments[] = {0, 1, 2, 3, 4, 5};
constexpr size_t kResult = 0, kStack = 31, kInstruction = 32, kSize = 33;
constexpr size_t kFirstKept = 1;
constexpr uint64_t kCallBytes = 4;
uint64_t result_of_restarted(const Notification& call) { return call.arguments[0]; }
#endif

}  // namespace

Interrupted interrupted(const Notification& call, const Targets::Position& at, std::span<const uint64_t> stack) {
  for (size_t begin = 0; begin + kSize <= stack.size(); ++begin) {
    const auto saved = stack.subspan(begin, kSize);
    if (saved[kStack] != at.stack) continue;
    bool same = true;
    for (size_t i = kFirstKept; i < std::size(kArguments); ++i)
      same = same && saved[kArguments[i]] == call.arguments[i];
    if (!same) continue;
    if (saved[kInstruction] == at.instruction - kCallBytes && saved[kResult] == result_of_restarted(call))
      return Interrupted::kRestarted;
    if (saved[kInstruction] == at.instruction && saved[kResult] == static_cast<uint64_t>(-int64_t{EINTR}))
      return Interrupted::kMadeAnew;
  }
  return Interrupted::kNotHandled;
}

Interrupted interrupted(Targets& targets, const Notification& call, const Targets::Position& at) {
  std::array<uint64_t, kWords> words;
  const auto stack = std::span(words);
  // Downwards by pages, as far as there is memory. The pointer is aligned, or else nothing is found.
  size_t have = 0;
  uint64_t end = at.stack;
  while (have < kWords) {
    uint64_t bytes = end % kPageBytes == 0 ? kPageBytes : end % kPageBytes;
    bytes = std::min<uint64_t>(bytes, (kWords - have) * sizeof(uint64_t)) / sizeof(uint64_t) * sizeof(uint64_t);
    if (bytes == 0 || bytes > end) break;
    const size_t count = bytes / sizeof(uint64_t);
    if (!targets.read(call, end - bytes, std::as_writable_bytes(stack.subspan(kWords - have - count, count)))) break;
    have += count;
    end -= bytes;
  }
  return interrupted(call, at, stack.last(have));
}

}  // namespace mqueuefs::seccomp
