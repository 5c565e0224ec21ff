#include "cli/explain.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "cli/answering.h"
#include "cli/encoding.h"
#include "client/address.h"
#include "segment/attributes.h"

namespace mqueuefs::cli {
namespace {

std::string errno_name(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

std::string line(const Attempt& attempt, const std::string& why, int code) {
  return attempt.text() + ": " + why + " (" + errno_name(code) + ")";
}

bool is_step(Error error, std::string_view step) { return error.step != nullptr && error.step == step; }

std::string file_name(const Attempt& attempt) {
  return attempt.queue.starts_with('/') ? attempt.queue.substr(1) : attempt.queue;
}

std::string explain_name(const Attempt& attempt, Error error) {
  const std::string name = file_name(attempt);
  switch (error.code) {
    case ENOENT:
      return line(attempt, "the name is empty", ENOENT);
    case ENAMETOOLONG:
      return line(attempt, "the name has " + std::to_string(name.size()) + " bytes, NAME_MAX is 255", ENAMETOOLONG);
    default:
      if (name == "." || name == "..") return line(attempt, "\"" + name + "\" can't be a queue's name", error.code);
      return line(attempt, "a name can't have a '/' but at its front", error.code);
  }
}

// The daemon went away, or the file system was taken from under us.
bool is_gone(int code) {
  return code == ENOTCONN || code == ECONNABORTED || code == ENODEV || code == ECONNRESET || code == EPIPE;
}

// The daemon has no way to mount. It tried all of them, so only what it can't get by without is looked at again.
std::string why_no_mount() {
  if (access("/dev/fuse", F_OK) != 0) {
    return "there is no /dev/fuse: load the module (modprobe fuse), or give the container the device "
           "(--device /dev/fuse); mqueuefs doctor says more";
  }
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    return "you may not open /dev/fuse: its mode should be 0666, and a container must be allowed the device "
           "(--device /dev/fuse); mqueuefs doctor says more";
  }
  return "your daemon can't mount: it needs user namespaces or fusermount3 (package fuse3); mqueuefs doctor says more";
}

std::string over_limit(const char* what, int64_t value, const char* limit, uint64_t limit_value) {
  return std::string(what) + " " + std::to_string(value) + " is over the limit " + limit + " " +
         std::to_string(limit_value);
}

std::string raised_by(const Attempt& attempt, const std::string& limit) {
  const std::string& name = attempt.namespace_name;
  return "; mqueuefs limits " + (name.empty() ? "" : "--ns " + printable(name) + " ") + limit + "=N raises it";
}

std::string explain_attributes(const Attempt& attempt, const CreateFacts& facts) {
  const auto not_positive = [](const char* what, int64_t value) {
    return std::string(what) + " " + std::to_string(value) + " is not positive";
  };
  if (facts.maxmsg <= 0) return line(attempt, not_positive("maxmsg", facts.maxmsg), EINVAL);
  if (facts.msgsize <= 0) return line(attempt, not_positive("msgsize", facts.msgsize), EINVAL);
  if (facts.limits) {
    const auto maxmsg = static_cast<uint64_t>(facts.maxmsg);
    const auto msgsize = static_cast<uint64_t>(facts.msgsize);
    // Who may exceed a namespace's limits is still held by the hard ones (doc/behaviour.md C6).
    if (maxmsg > kMaxMessages) return line(attempt, over_limit("maxmsg", facts.maxmsg, "HARD_MSGMAX", kMaxMessages), EINVAL);
    if (msgsize > kMaxMessageSize) {
      return line(attempt, over_limit("msgsize", facts.msgsize, "HARD_MSGSIZEMAX", kMaxMessageSize), EINVAL);
    }
    if (maxmsg > facts.limits->msg_max) {
      return line(attempt, over_limit("maxmsg", facts.maxmsg, "msg_max", facts.limits->msg_max) + raised_by(attempt, "msg_max"), EINVAL);
    }
    if (msgsize > facts.limits->msgsize_max) {
      return line(attempt, over_limit("msgsize", facts.msgsize, "msgsize_max", facts.limits->msgsize_max) + raised_by(attempt, "msgsize_max"), EINVAL);
    }
  }
  return line(attempt, "maxmsg " + std::to_string(facts.maxmsg) + " or msgsize " + std::to_string(facts.msgsize) +
                           " is out of range", EINVAL);
}

std::string explain_charge(const Attempt& attempt, const CreateFacts& facts) {
  const uint64_t charge = charge_of_queue(facts.maxmsg, facts.msgsize);
  std::string why = "the queue would be charged " + std::to_string(charge) + " bytes";
  if (facts.limits) why += ", " + std::to_string(facts.limits->charged_bytes) + " are in use";
  why += ", and the limit RLIMIT_MSGQUEUE (ulimit -q) is " + std::to_string(facts.rlimit_msgqueue) +
         "; make it smaller or raise that";
  return line(attempt, why, EMFILE);
}

std::string no_such_queue() {
  std::string text = "no such queue";
  if (!answering().which.empty()) text += " in " + answering().which;
  if (!answering().others.empty()) text += "; there is also " + answering().others;
  return text;
}

std::string within(const TransferFacts& facts) {
  return facts.timeout.empty() ? "in time" : "within " + facts.timeout + " seconds";
}

}  // namespace

std::string describe_errno(int code) {
  const char* text = strerrordesc_np(code);
  return std::string(text != nullptr ? text : "unknown error") + " (" + errno_name(code) + ")";
}

std::string Attempt::text() const {
  std::string text = verb;
  if (!queue.empty()) text += (queue.starts_with('/') ? " " : " /") + printable(queue);
  if (!namespace_name.empty()) text += " in namespace " + printable(namespace_name);
  return text;
}

std::string explain(const Attempt& attempt, Error error) {
  if (is_step(error, "queue name")) return explain_name(attempt, error);
  const bool by_daemon = is_step(error, "daemon");
  if (is_gone(error.code)) {
    return line(attempt, "the daemon is gone, and its queues with it, or the file system was force-unmounted: "
                         "umount what is left, then mount again", error.code);
  }
  switch (error.code) {
    case ENOENT:
      if (by_daemon && !attempt.namespace_name.empty()) {
        return line(attempt, "no namespace called " + printable(attempt.namespace_name), ENOENT);
      }
      if (!attempt.queue.empty()) return line(attempt, no_such_queue(), ENOENT);
      break;
    case ENAMETOOLONG:
      if (!attempt.namespace_name.empty()) return line(attempt, "a namespace's name has at most 255 bytes", ENAMETOOLONG);
      break;
    case EPERM:
      if (by_daemon) return line(attempt, "only the namespace's owner and root may", EPERM);
      if (is_step(error, "unlinkat")) {
        return line(attempt, "the directory is sticky: only the queue's owner, the directory's and root may", EPERM);
      }
      break;
    case EACCES:
      if (is_step(error, "openat")) return line(attempt, "the queue's mode does not permit it to you", EACCES);
      if (is_step(error, "unlinkat")) return line(attempt, "the directory's mode does not permit it to you", EACCES);
      if (by_daemon) return line(attempt, "the namespace is not yours", EACCES);
      break;
    case EOPNOTSUPP:
      if (by_daemon) {
        return line(attempt, why_no_mount(), EOPNOTSUPP);
      }
      break;
    case EROFS:
      return line(attempt, "the file system is read-only", EROFS);
    case EUCLEAN:
      return line(attempt, "the queue's memory contradicts itself; remove the queue", EUCLEAN);
    case ECONNREFUSED:
      if (is_step(error, client::kSystemIsDown)) {
        return line(attempt, "the system's daemon, which root's and the group mqueuefs's commands use, does not run: root "
                             "starts it (systemctl start mqueuefs.socket, or mqueuefs daemon)", ECONNREFUSED);
      }
      return line(attempt, "no daemon answers, and none could be started: start one with mqueuefs daemon", ECONNREFUSED);
    case ECHILD:
      return line(attempt, "no daemon answers, and the one that was started ended at once", ECHILD);
    case EPROTONOSUPPORT:
      return line(attempt, "the daemon is of another version: end it, and the next command starts one of this", EPROTONOSUPPORT);
    default:
      break;
  }
  std::string text = attempt.text() + ": ";
  if (error.step != nullptr && !by_daemon) text += std::string(error.step) + ": ";
  return text + describe_errno(error.code);
}

std::string explain_create(const Attempt& attempt, Error error, const CreateFacts& facts) {
  if (!is_step(error, "openat")) return explain(attempt, error);
  switch (error.code) {
    case EEXIST:
      return line(attempt, "a queue of that name exists", EEXIST);
    case EINVAL:
      return explain_attributes(attempt, facts);
    case EMFILE:
      return explain_charge(attempt, facts);
    case ENOSPC:
      if (!facts.limits) break;
      return line(attempt, std::to_string(facts.limits->queues) + " queues are there, and the limit queues_max is " +
                               std::to_string(facts.limits->queues_max) + raised_by(attempt, "queues_max"), ENOSPC);
    case EACCES:
      return line(attempt, "the namespace is gone, or its directory's mode does not permit it to you", EACCES);
    case EOVERFLOW:
      return line(attempt, "maxmsg " + std::to_string(facts.maxmsg) + " times msgsize " +
                               std::to_string(facts.msgsize) + " is too much, or your uid has no meaning there",
                  EOVERFLOW);
    case ENOMEM:
      return line(attempt, "no memory, or over the daemon's ceiling for one user", ENOMEM);
    default:
      break;
  }
  return explain(attempt, error);
}

std::string explain_send(const Attempt& attempt, Error error, const TransferFacts& facts) {
  switch (error.code) {
    case EINVAL:
      if (facts.priority < 0 || facts.priority >= kPriorities) {
        return line(attempt, "priority " + std::to_string(facts.priority) + " is not in 0 to " +
                                 std::to_string(kPriorities - 1), EINVAL);
      }
      break;
    case EMSGSIZE:
      return line(attempt, std::string("the message has ") + (facts.size > kMaxMessageSize ? "over " : "") +
                               std::to_string(std::min<uint64_t>(facts.size, kMaxMessageSize)) +
                               " bytes, over the queue's msgsize " + std::to_string(facts.msgsize),
                  EMSGSIZE);
    case EAGAIN:
      return line(attempt, "the queue is full, its maxmsg is " + std::to_string(facts.maxmsg), EAGAIN);
    case ETIMEDOUT:
      if (is_step(error, "the daemon did not get ready")) break;
      return line(attempt, "no room " + within(facts) + ", the queue's maxmsg is " + std::to_string(facts.maxmsg),
                  ETIMEDOUT);
    default:
      break;
  }
  return explain(attempt, error);
}

std::string explain_receive(const Attempt& attempt, Error error, const TransferFacts& facts) {
  if (error.code == EAGAIN) return line(attempt, "the queue is empty", EAGAIN);
  if (error.code == ETIMEDOUT && !is_step(error, "the daemon did not get ready")) {
    return line(attempt, "no message " + within(facts), ETIMEDOUT);
  }
  return explain(attempt, error);
}

uint64_t charge_of_queue(int64_t maxmsg, int64_t msgsize) {
  // A message's struct msg_msg and a node of the tree of priorities, as the kernel counts them.
  constexpr uint64_t kMessageBytes = 48, kNodeBytes = 48;
  uint64_t charge = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(maxmsg), static_cast<uint64_t>(msgsize) + kMessageBytes, &charge) ||
      __builtin_add_overflow(charge, std::min<uint64_t>(static_cast<uint64_t>(maxmsg), kPriorities) * kNodeBytes,
                             &charge)) {
    return UINT64_MAX;
  }
  return charge;
}

}  // namespace mqueuefs::cli
