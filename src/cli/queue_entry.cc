#include "cli/queue_entry.h"

#include <signal.h>

#include <cstring>

#include "cli/output.h"

namespace mqueuefs::cli {
namespace {

std::string name_of(const control::QueueEntry& entry) {
  return std::string(entry.name, strnlen(entry.name, sizeof entry.name));
}

std::string count_of(uint32_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string pid_note(int32_t pid) { return pid > 0 ? " (pid " + std::to_string(pid) + ")" : ""; }

const char* notification_type(int32_t type) {
  switch (type) {
    case SIGEV_SIGNAL:
      return "signal";
    case SIGEV_NONE:
      return "none";
    case SIGEV_THREAD:
      return "thread";
    default:
      return "unknown";
  }
}

}  // namespace

std::string shown_name(const control::QueueEntry& entry) { return "/" + printable(name_of(entry)); }

std::string shown_waiters(const control::QueueEntry& entry) {
  // A queue can't be full and empty, so only one kind waits.
  if (entry.waiting_receivers > 0) {
    return count_of(entry.waiting_receivers, "receiver") + pid_note(entry.first_waiter_pid);
  }
  if (entry.waiting_senders > 0) return count_of(entry.waiting_senders, "sender") + pid_note(entry.first_waiter_pid);
  return "-";
}

std::string shown_notification(const control::QueueEntry& entry) {
  if (entry.notify_type < 0) return "-";
  std::string text = notification_type(entry.notify_type);
  if (entry.notify_type == SIGEV_SIGNAL) text += " " + std::to_string(entry.notify_signo);
  return text + pid_note(entry.notify_pid);
}

Json queue_json(const control::QueueEntry& entry) {
  Json object;
  add_text(object, "name", "name_data", name_of(entry));
  object["messages"] = entry.messages;
  object["bytes"] = entry.bytes;
  object["maxmsg"] = entry.maxmsg;
  object["msgsize"] = entry.msgsize;
  object["mode"] = mode_text(entry.mode);
  object["uid"] = entry.uid;
  object["gid"] = entry.gid;
  object["owner"] = user_name(entry.uid);
  object["group"] = group_name(entry.gid);
  object["inode"] = entry.inode;
  object["atime"] = entry.atime_s;
  object["mtime"] = entry.mtime_s;
  object["ctime"] = entry.ctime_s;
  object["open_handles"] = entry.open_handles;
  object["waiting"] = {{"senders", entry.waiting_senders}, {"receivers", entry.waiting_receivers}};
  if (entry.first_waiter_pid > 0) object["waiting"]["first_pid"] = entry.first_waiter_pid;
  object["notification"] = nullptr;
  if (entry.notify_type >= 0) {
    Json notification;
    notification["type"] = notification_type(entry.notify_type);
    if (entry.notify_type == SIGEV_SIGNAL) notification["signal"] = entry.notify_signo;
    if (entry.notify_pid > 0) notification["pid"] = entry.notify_pid;
    object["notification"] = notification;
  }
  object["sent"] = entry.sent;
  object["received"] = entry.received;
  object["oldest"] = entry.oldest_s > 0 ? Json(entry.oldest_s) : Json(nullptr);
  object["blocked"] = Json::array();
  for (const control::BlockedEntry& blocked : entry.blocked) {
    if (blocked.since_ns <= 0) continue;
    Json call;
    call["operation"] = blocked.receives != 0 ? "receive" : "send";
    call["since"] = static_cast<double>(blocked.since_ns) / 1e9;
    if (blocked.pid > 0) call["pid"] = blocked.pid;
    object["blocked"].push_back(call);
  }
  object["created"] = entry.created_s;
  if (entry.creator_pid > 0) object["creator_pid"] = entry.creator_pid;
  object["damaged"] = entry.dead != 0;
  return object;
}

}  // namespace mqueuefs::cli
