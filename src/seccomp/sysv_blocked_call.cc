#include "seccomp/sysv_blocked_call.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace mqueuefs::seccomp {

bool answer_message(Targets& targets, const Notification& call,
                    const ipc::sysv::Received& received) {
  const uint64_t buffer = call.arguments[1];
  const std::span<const std::byte> text = received.message.payload;
  const std::array<Targets::Piece, 2> pieces = {
      {{buffer, std::as_bytes(std::span(&received.message.type, 1))},
       {buffer + sizeof received.message.type, text.first(received.size_bytes)}}};
  const Status taken = targets.write_and_answer(call, pieces, static_cast<int64_t>(received.size_bytes));
  if (taken.code() == EFAULT) return targets.fail(call, EFAULT);
  return taken.ok();
}

SysvBlockedCall::SysvBlockedCall(const Surroundings& surroundings, const Notification& call,
                                 std::optional<Targets::Position> position,
                                 std::unique_ptr<ipc::sysv::CallerRights> rights, std::function<void()> over)
    : surroundings_(surroundings),
      call_(call),
      position_(position),
      rights_(std::move(rights)),
      over_(std::move(over)) {}

void SysvBlockedCall::set_timeout(int64_t timeout_ns) {
  constexpr int64_t kMillisecond_ns = 1'000'000;
  deadline_ = surroundings_.reactor.make_timer([this] { end(EAGAIN); });
  constexpr int64_t kYears_ms = 1'000'000'000'000;
  // Never early.
  deadline_->set_delay_ms(std::min(timeout_ns / kMillisecond_ns + 1, kYears_ms));
}

bool SysvBlockedCall::offer(int code, const ipc::sysv::Received* received) {
  if (deadline_ != nullptr) deadline_->cancel();
  bool taken = true;
  if (received != nullptr) {
    taken = answer_message(surroundings_.targets, call_, *received);
  } else if (code == 0) {
    taken = surroundings_.targets.answer(call_, 0).ok();
  } else {
    surroundings_.listener.fail(call_.id, code);
  }
  over_();
  return taken;
}

}  // namespace mqueuefs::seccomp
