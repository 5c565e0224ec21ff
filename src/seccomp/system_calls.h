// Which numbers the calls of message queues and of System V IPC, mount(2) and fsopen(2) have, by processor: the filter is made from
// this table, and a notification is read by it.
#pragma once

#include <linux/audit.h>

#include <cstdint>
#include <optional>
#include <span>

namespace mqueuefs::seccomp {

enum class Call {
  kOpen, kUnlink, kTimedSend, kTimedReceive, kNotify, kGetSetAttributes, kMount, kOpenContext,
  // System V: sysv_calls.h.
  kMsgGet, kMsgSend, kMsgReceive, kMsgControl,
  kSemGet, kSemOperate, kSemTimedOperate, kSemControl,
  kShmGet, kShmAttach, kShmDetach, kShmControl,
};

struct CallNumber {
  uint32_t number;
  Call call;
};

/// One way to make system calls: what is served, and what is refused with ENOSYS since its structures are laid
/// out otherwise (the 32-bit calls). See syscall(2), seccomp_data of seccomp(2).
struct CallTable {
  uint32_t architecture;               ///< AUDIT_ARCH_*
  std::span<const CallNumber> served;
  uint32_t compat_architecture;        ///< the 32-bit one of the same processor
  std::span<const uint32_t> refused;   ///< its calls of the same names
  std::span<const uint32_t> refused_here;  ///< of `architecture` itself: x32's, which have bit 30 set
};

inline constexpr uint32_t kX32Bit = 0x40000000;  ///< __X32_SYSCALL_BIT

// asm/unistd_64.h, unistd_32.h and unistd_x32.h of x86.
inline constexpr CallNumber kServedX86[] = {{240, Call::kOpen},         {241, Call::kUnlink},
                                            {242, Call::kTimedSend},    {243, Call::kTimedReceive},
                                            {244, Call::kNotify},       {245, Call::kGetSetAttributes},
                                            {165, Call::kMount},       {430, Call::kOpenContext},
                                            {68, Call::kMsgGet},      {69, Call::kMsgSend},
                                            {70, Call::kMsgReceive},  {71, Call::kMsgControl},
                                            {64, Call::kSemGet},      {65, Call::kSemOperate},
                                            {220, Call::kSemTimedOperate}, {66, Call::kSemControl},
                                            {29, Call::kShmGet},      {30, Call::kShmAttach},
                                            {67, Call::kShmDetach},   {31, Call::kShmControl}};
// 117 is ipc(2), which is all of System V IPC.
inline constexpr uint32_t kRefusedI386[] = {277, 278, 279, 280, 281, 282, 418, 419, 117, 393, 394,
                                            395, 396, 397, 398, 399, 400, 401, 402, 420};
inline constexpr uint32_t kRefusedX32[] = {kX32Bit | 240, kX32Bit | 241, kX32Bit | 242, kX32Bit | 243, kX32Bit | 527,
                                           kX32Bit | 245, kX32Bit | 29,  kX32Bit | 30,  kX32Bit | 31,  kX32Bit | 64,
                                           kX32Bit | 65,  kX32Bit | 66,  kX32Bit | 67,  kX32Bit | 68,  kX32Bit | 69,
                                           kX32Bit | 70,  kX32Bit | 71,  kX32Bit | 220};
// asm-generic/unistd.h; arch/arm/tools/syscall.tbl.
inline constexpr CallNumber kServedArm64[] = {{180, Call::kOpen},      {181, Call::kUnlink},
                                              {182, Call::kTimedSend}, {183, Call::kTimedReceive},
                                              {184, Call::kNotify},    {185, Call::kGetSetAttributes},
                                              {40, Call::kMount},        {430, Call::kOpenContext},
                                              {186, Call::kMsgGet},    {189, Call::kMsgSend},
                                              {188, Call::kMsgReceive}, {187, Call::kMsgControl},
                                              {190, Call::kSemGet},    {193, Call::kSemOperate},
                                              {192, Call::kSemTimedOperate}, {191, Call::kSemControl},
                                              {194, Call::kShmGet},    {196, Call::kShmAttach},
                                              {197, Call::kShmDetach}, {195, Call::kShmControl}};
inline constexpr uint32_t kRefusedArm[] = {274, 275, 276, 277, 278, 279, 418, 419, 298, 299, 300,
                                           301, 302, 303, 304, 305, 306, 307, 308, 312, 420};

inline constexpr CallTable kX86Calls{AUDIT_ARCH_X86_64, kServedX86, AUDIT_ARCH_I386, kRefusedI386, kRefusedX32};
inline constexpr CallTable kArm64Calls{AUDIT_ARCH_AARCH64, kServedArm64, AUDIT_ARCH_ARM, kRefusedArm, {}};

#if defined(__x86_64__)
inline constexpr const CallTable& kOwnCalls = kX86Calls;
#elif defined(__aarch64__)
inline constexpr const CallTable& kOwnCalls = kArm64Calls;
#else
#error "the system-call front door knows x86-64 and arm64"
#endif

/// Nothing: not one that `table` serves.
constexpr std::optional<Call> served_call(const CallTable& table, uint32_t architecture, uint32_t number) {
  if (architecture != table.architecture) return std::nullopt;
  for (const CallNumber& known : table.served) {
    if (known.number == number) return known.call;
  }
  return std::nullopt;
}

/// Whether it is a call of the same name that is laid out otherwise. Our own filter answers those itself.
constexpr bool is_refused_call(const CallTable& table, uint32_t architecture, uint32_t number) {
  const auto contains = [number](std::span<const uint32_t> numbers) {
    for (const uint32_t known : numbers) {
      if (known == number) return true;
    }
    return false;
  };
  return architecture == table.architecture ? contains(table.refused_here)
                                            : architecture == table.compat_architecture && contains(table.refused);
}

}  // namespace mqueuefs::seccomp
