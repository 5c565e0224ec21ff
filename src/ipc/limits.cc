#include "ipc/limits.h"

#include <algorithm>
#include <array>

namespace mqueuefs::ipc {

// The ranges are those of ipc/mq_sysctl.c: MIN_MSGMAX, HARD_MSGMAX, MIN_MSGSIZEMAX, HARD_MSGSIZEMAX;
// queues_max is a plain non-negative int. The others' are those of ipc/ipc_sysctl.c, but for semmsl, semmns and semopm, of
// which it takes every int, and msgmax, of which it takes more than a message of ours can have.
std::span<const LimitRule> limit_rules() {
  constexpr uint64_t kMostObjects = 32768;  // IPCMNI
  static constexpr std::array<LimitRule, 15> kRules{{
      {"queues_max", &Limits::queues_max, 0, INT32_MAX},
      {"msg_max", &Limits::msg_max, 1, kMaxMessages},
      {"msg_default", &Limits::msg_default, 1, kMaxMessages},
      {"msgsize_max", &Limits::msgsize_max, 128, kMaxMessageSize},
      {"msgsize_default", &Limits::msgsize_default, 128, kMaxMessageSize},
      {"msgmni", &Limits::msgmni, 0, kMostObjects},
      {"msgmax", &Limits::msgmax, 0, kMaxMessageSize},
      {"msgmnb", &Limits::msgmnb, 0, INT32_MAX},
      {"semmsl", &Limits::semmsl, 0, INT32_MAX},
      {"semmns", &Limits::semmns, 0, INT32_MAX},
      {"semopm", &Limits::semopm, 0, INT32_MAX},
      {"semmni", &Limits::semmni, 0, kMostObjects},
      {"shmmni", &Limits::shmmni, 0, kMostObjects},
      {"shmmax", &Limits::shmmax, 0, UINT64_MAX},
      {"shmall", &Limits::shmall, 0, UINT64_MAX},
  }};
  return kRules;
}

Status Limits::set(std::string_view key, uint64_t value_to_set) {
  for (const LimitRule& rule : limit_rules()) {
    if (key != rule.name) continue;
    if (value_to_set < rule.least || value_to_set > rule.most) return Error{EINVAL, rule.name};
    this->*rule.value = value_to_set;
    return {};
  }
  return Error{ENOENT, "no such limit"};
}

bool Limits::is_exceeded(std::string_view key, uint64_t value_to_set) const {
  return std::ranges::any_of(limit_rules(), [&](const LimitRule& rule) {
    return key == rule.name && value_to_set > this->*rule.value;
  });
}

Limits Limits::greatest() {
  Limits limits;
  for (const LimitRule& rule : limit_rules()) limits.*rule.value = rule.most;
  return limits;
}

QueueAttributes Limits::default_attributes() const {
  return {static_cast<uint32_t>(std::min(msg_max, msg_default)),
          static_cast<uint32_t>(std::min(msgsize_max, msgsize_default))};
}

Result<QueueAttributes> check_attributes(const RequestedAttributes& requested, const Limits& limits,
                                         bool may_exceed_limits) {
  if (requested.maxmsg <= 0 || requested.msgsize <= 0) return Error{EINVAL, "attributes"};
  const uint64_t most_messages = may_exceed_limits ? kMaxMessages : limits.msg_max;
  const uint64_t most_bytes = may_exceed_limits ? kMaxMessageSize : limits.msgsize_max;
  if (static_cast<uint64_t>(requested.maxmsg) > most_messages) return Error{EINVAL, "msg_max"};
  if (static_cast<uint64_t>(requested.msgsize) > most_bytes) return Error{EINVAL, "msgsize_max"};
  return QueueAttributes{static_cast<uint32_t>(requested.maxmsg), static_cast<uint32_t>(requested.msgsize)};
}

uint64_t charge_of(const QueueAttributes& attributes) {
  // sizeof(struct msg_msg) and sizeof(struct posix_msg_tree_node) on 64-bit kernels; the tree has at most
  // one node a message and at most one a priority.
  constexpr uint64_t kMessageOverhead = 48;
  constexpr uint64_t kTreeNode = 48;
  const uint64_t messages = attributes.maxmsg;
  return messages * (attributes.msgsize + kMessageOverhead) + std::min<uint64_t>(messages, kPriorities) * kTreeNode;
}

}  // namespace mqueuefs::ipc
