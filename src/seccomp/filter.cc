#include "seccomp/filter.h"

#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace mqueuefs::seccomp {
namespace {

constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | ENOSYS;

void load(std::vector<sock_filter>& program, size_t offset) {
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
}

void answer(std::vector<sock_filter>& program, uint32_t action) {
  program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
}

/// If the loaded word is `value`: `action`.
void answer_if(std::vector<sock_filter>& program, uint32_t value, uint32_t action) {
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
  answer(program, action);
}

/// Puts `block` behind a test that only calls of `architecture` pass.
void add_block(std::vector<sock_filter>& program, uint32_t architecture, const std::vector<sock_filter>& block) {
  load(program, offsetof(seccomp_data, arch));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 0, static_cast<uint8_t>(block.size())));
  program.insert(program.end(), block.begin(), block.end());
}

}  // namespace

std::vector<sock_filter> filter_program(const CallTable& table) {
  std::vector<sock_filter> native;
  load(native, offsetof(seccomp_data, nr));
  for (const CallNumber& known : table.served)
    answer_if(native, known.number, SECCOMP_RET_USER_NOTIF);
  for (const uint32_t number : table.refused_here)
    answer_if(native, number, kRefuse);
  answer(native, SECCOMP_RET_ALLOW);

  std::vector<sock_filter> compat;
  load(compat, offsetof(seccomp_data, nr));
  for (const uint32_t number : table.refused)
    answer_if(compat, number, kRefuse);
  answer(compat, SECCOMP_RET_ALLOW);

  std::vector<sock_filter> program;
  add_block(program, table.architecture, native);
  add_block(program, table.compat_architecture, compat);
  answer(program, SECCOMP_RET_ALLOW);
  return program;
}

Result<UniqueFd> install_filter() {
  std::vector<sock_filter> instructions = filter_program(kOwnCalls);
  const sock_fprog program{static_cast<unsigned short>(instructions.size()), instructions.data()};
  const auto install = [&] {
    return UniqueFd(static_cast<int>(
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program)));
  };
  // First without: with it set-uid programs would not change their user any more.
  UniqueFd listener = install();
  if (!listener && errno == EACCES) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return last_error("PR_SET_NO_NEW_PRIVS");
    listener = install();
  }
  if (!listener) return last_error("seccomp");
  return listener;
}

}  // namespace mqueuefs::seccomp
