#include "seccomp/session.h"

#include <poll.h>
#include <sys/epoll.h>

#include <utility>

#include "seccomp/system_calls.h"

namespace mqueuefs::seccomp {
namespace {

// How soon a blocked call that was signalled, or whose thread has ended, is out of its queue's list.
constexpr int64_t kLookEveryMs = 250;

}  // namespace

Session::Session(control::Reactor& reactor, Host& host, UniqueFd listener, std::string namespace_name,
                 std::function<void()> ended)
    : reactor_(reactor),
      host_(host),
      shared_listener_(std::make_shared<Listener>(std::move(listener))),
      listener_(*shared_listener_),
      targets_(reactor_, host_, shared_listener_, [this](const Notification& call) { serve(call); }),
      namespace_name_(std::move(namespace_name)),
      sysv_(std::make_shared<SysvCalls>(reactor_, host_, listener_, targets_, namespace_name_)),
      ended_(std::move(ended)) {
  look_timer_ = reactor_.make_timer([this] { drop_stale_calls(); });
}

Session::~Session() = default;

Status Session::start() {
  auto watch = reactor_.watch(listener_.fd(), EPOLLIN, [this](uint32_t events) { ready(events); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

void Session::end() {
  if (watch_ == nullptr) return;
  watch_.reset();
  reactor_.run_later(ended_);
}

void Session::ready(uint32_t events) {
  if ((events & EPOLLIN) == 0) {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) end();
    return;
  }
  const auto call = listener_.take();
  if (call) return serve(*call);
  if (call.code() == ENOENT) return;  // signalled before we came
  host_.note_misbehaviour(0, "a listener that is not ours alone");
  end();
}

void Session::serve(const Notification& call) {
  if (const auto earlier = blocked_of_task_.find(call.task); earlier != blocked_of_task_.end()) {
    // The same thread, so its earlier call was interrupted.
    call_over(earlier->second);
    targets_.note_interrupted(call.task);
  }
  sysv_->make_way(call.task);
  const auto which = served_call(kOwnCalls, call.architecture, call.number);
  if (!which || call.task == 0) {
    // A runtime's filter may notify more; a task that we can't see can't be served.
    const bool refused = which || is_refused_call(kOwnCalls, call.architecture, call.number);
    refused ? listener_.fail(call.id, ENOSYS) : listener_.let_go_on(call.id);
    return;
  }
  switch (*which) {
    case Call::kOpen:
      return open(call);
    case Call::kUnlink:
      return unlink(call);
    case Call::kTimedSend:
      return timed_send(call);
    case Call::kTimedReceive:
      return timed_receive(call);
    case Call::kNotify:
      return notify(call);
    case Call::kGetSetAttributes:
      return get_set_attributes(call);
    case Call::kMount:
      return mount(call);
    case Call::kOpenContext:
      return open_context(call);
    default:
      return sysv_->serve(*which, call);
  }
}

BlockedCall& Session::block(const Notification& call, const ReceiveBuffer& buffer) {
  auto blocked = std::make_unique<BlockedCall>(listener_, targets_, reactor_, call, buffer, host_.uid_of(call.task),
                                               host_.budget(), [this, call](bool again) { call_over(call.id, again); });
  if (blocked_.empty()) look_timer_->set_delay_ms(kLookEveryMs);
  blocked_of_task_.insert_or_assign(call.task, call.id);
  return *blocked_.insert_or_assign(call.id, std::move(blocked)).first->second;
}

void Session::call_over(uint64_t id, bool again) {
  auto node = blocked_.extract(id);
  if (node.empty()) return;
  const auto task = blocked_of_task_.find(node.mapped()->call().task);
  if (task != blocked_of_task_.end() && task->second == id) blocked_of_task_.erase(task);
  if (over_.empty()) {
    reactor_.run_later([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->over_.clear();
    });
  }
  if (again) {
    reactor_.run_later([weak = weak_from_this(), call = node.mapped()->call()] {
      if (const auto self = weak.lock(); self != nullptr && self->listener_.is_valid(call.id)) self->serve(call);
    });
  }
  over_.push_back(std::move(node.mapped()));
}

void Session::drop_stale_calls() {
  std::vector<uint64_t> stale;
  for (const auto& [id, blocked] : blocked_) {
    if (blocked->is_gone()) stale.push_back(id);
  }
  for (const uint64_t id : stale)
    call_over(id);
  if (!blocked_.empty()) look_timer_->set_delay_ms(kLookEveryMs);
}

HelperCall Session::helper_call(const Notification& call) const {
  return {shared_listener_, call.id, call.task, namespace_name_};
}

}  // namespace mqueuefs::seccomp
