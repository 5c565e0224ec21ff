#include "daemon/proc_view.h"

#include <charconv>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mqueuefs::daemon {
namespace {

using ipc::sysv::Kind;
using Keys = std::vector<const char*>;

constexpr mode_t kShown = 0444;
constexpr mode_t kSettable = 0644;

[[gnu::format(printf, 2, 3)]] void append(std::string& text, const char* format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  text.append(line, std::min(static_cast<size_t>(std::max(length, 0)), sizeof line - 1));
}

void append_head(std::string& text, const ipc::sysv::Permissions& permissions) {
  append(text, "%10d %10d  %4o", permissions.key, permissions.id, static_cast<unsigned>(permissions.mode));
}
void append_owners(std::string& text, const ipc::sysv::Permissions& permissions) {
  append(text, " %5u %5u %5u %5u", permissions.uid, permissions.gid, permissions.cuid, permissions.cgid);
}

// The columns are those of sysvipc_{msg,sem,shm}_proc_show(), which ipcs(1) and others read.

std::string messages_text(const ipc::IpcNamespace& shown, ipc::TaskId reader) {
  std::string text =
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime"
      "      ctime\n";
  const auto& messages = shown.sysv().messages();
  for (auto queue = messages.next_from(0, reader); queue;
       queue = messages.next_from(queue->permissions.index() + 1, reader)) {
    append_head(text, queue->permissions);
    append(text, "  %10" PRIu64 " %10" PRIu64 " %5d %5d", queue->cbytes, queue->qnum, queue->lspid, queue->lrpid);
    append_owners(text, queue->permissions);
    append(text, " %10" PRId64 " %10" PRId64 " %10" PRId64 "\n", queue->stime_s, queue->rtime_s, queue->ctime_s);
  }
  return text;
}

std::string semaphores_text(const ipc::IpcNamespace& shown, ipc::TaskId reader) {
  std::string text = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
  const auto& semaphores = shown.sysv().semaphores();
  for (auto array = semaphores.next_from(0, reader); array;
       array = semaphores.next_from(array->permissions.index() + 1, reader)) {
    append_head(text, array->permissions);
    append(text, " %10u", array->nsems);
    append_owners(text, array->permissions);
    append(text, " %10" PRId64 " %10" PRId64 "\n", array->otime_s, array->ctime_s);
  }
  return text;
}

std::string memory_text(const ipc::IpcNamespace& shown, ipc::TaskId reader) {
  std::string text =
      "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      "
      "dtime      ctime                   rss                  swap\n";
  const auto& memory = shown.sysv().memory();
  for (auto segment = memory.next_from(0, reader); segment;
       segment = memory.next_from(segment->permissions.index() + 1, reader)) {
    append_head(text, segment->permissions);
    append(text, " %21" PRIu64 " %5d %5d  %5" PRIu64, segment->segsz, segment->cpid, segment->lpid, segment->nattch);
    append_owners(text, segment->permissions);
    append(text, " %10" PRId64 " %10" PRId64 " %10" PRId64 " %21" PRIu64 " %21" PRIu64 "\n", segment->atime_s,
           segment->dtime_s, segment->ctime_s, segment->rss_bytes, segment->swap_bytes);
  }
  return text;
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }

/// What kernel/sysctl.c takes: numbers, perhaps hexadecimal or octal, between white space. EINVAL.
Result<std::vector<int64_t>> parse_numbers(std::string_view text, size_t most) {
  std::vector<int64_t> numbers;
  for (;;) {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    if (text.empty()) break;
    if (numbers.size() == most) return numbers;  // the rest is not looked at
    const bool negative = text.front() == '-';
    if (negative) text.remove_prefix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
      base = 16;
      text.remove_prefix(2);
    } else if (text.size() > 1 && text.front() == '0') {
      base = 8;
    }
    uint64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (parsed.ec != std::errc()) return Error{EINVAL};
    text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
    if (!text.empty() && !is_space(text.front())) return Error{EINVAL};
    numbers.push_back(static_cast<int64_t>(negative ? -value : value));
    if (negative && numbers.back() > 0) return Error{EINVAL};
  }
  if (numbers.empty()) return Error{EINVAL};
  return numbers;
}

/// Limits, in one line.
std::string limits_text(const ipc::Limits& limits, const Keys& keys) {
  std::string text;
  for (const char* key : keys) {
    for (const ipc::LimitRule& rule : ipc::limit_rules()) {
      if (std::string_view(key) != rule.name) continue;
      append(text, "%s%" PRIu64, text.empty() ? "" : "\t", limits.*rule.value);
    }
  }
  return text + "\n";
}

class ProcView final : public fuse::TextTree {
 public:
  ProcView(ProcViewSource source, uid_t uid, gid_t gid) : source_(std::move(source)), uid_(uid), gid_(gid) {
    add_table("sysvipc/msg", messages_text);
    add_table("sysvipc/sem", semaphores_text);
    add_table("sysvipc/shm", memory_text);
    for (const char* key : {"queues_max", "msg_max", "msgsize_max", "msg_default", "msgsize_default"}) {
      add_limits(std::string("sys/fs/mqueue/") + key, {key});
    }
    for (const char* key : {"msgmax", "msgmnb", "msgmni", "shmall", "shmmax", "shmmni"}) {
      add_limits(std::string("sys/kernel/") + key, {key});
    }
    add_limits("sys/kernel/sem", {"semmsl", "semmns", "semopm", "semmni"});
    add_next_id("sys/kernel/msg_next_id", Kind::kMessages);
    add_next_id("sys/kernel/sem_next_id", Kind::kSemaphores);
    add_next_id("sys/kernel/shm_next_id", Kind::kMemory);
  }

  std::span<const File> files() const override { return files_; }
  uid_t uid() const override { return uid_; }
  gid_t gid() const override { return gid_; }

  Result<std::string> read(size_t file, ipc::TaskId reader) override {
    const ipc::IpcNamespace* const shown = source_.find();
    if (shown == nullptr) return Error{ESTALE, "the namespace is gone"};
    return contents_[file].read(*shown, reader);
  }
  Status write(size_t file, const fuse::TextWriter& writer, std::string_view text) override {
    ipc::IpcNamespace* const shown = source_.find();
    if (shown == nullptr) return Error{ESTALE, "the namespace is gone"};
    if (!contents_[file].write) return Error{EPERM};
    return contents_[file].write(*shown, writer, text);
  }

 private:
  struct Content {
    std::function<std::string(const ipc::IpcNamespace&, ipc::TaskId)> read;
    std::function<Status(ipc::IpcNamespace&, const fuse::TextWriter&, std::string_view)> write;
  };

  void add(std::string path, mode_t mode, Content content) {
    files_.push_back({std::move(path), mode});
    contents_.push_back(std::move(content));
  }
  void add_table(const char* path, std::string (*text)(const ipc::IpcNamespace&, ipc::TaskId)) {
    add(path, kShown, {text, nullptr});
  }
  void add_limits(std::string path, const Keys& keys) {
    add(std::move(path), kSettable,
        {[keys](const ipc::IpcNamespace& shown, ipc::TaskId) { return limits_text(shown.limits(), keys); },
         [this, keys](ipc::IpcNamespace& shown, const fuse::TextWriter& writer, std::string_view text) {
           return set_limits(shown, writer, keys, text);
         }});
  }
  void add_next_id(const char* path, Kind kind) {
    add(path, kSettable,
        {[kind](const ipc::IpcNamespace& shown, ipc::TaskId) {
           return std::to_string(shown.sysv().table(kind).next_id()) + "\n";
         },
         [kind](ipc::IpcNamespace& shown, const fuse::TextWriter&, std::string_view text) -> Status {
           const auto numbers = parse_numbers(text, 1);
           if (!numbers) return numbers.error();
           if (numbers->front() < 0 || numbers->front() > INT32_MAX) return Error{EINVAL};
           return shown.sysv().table(kind).set_next_id(static_cast<int>(numbers->front()));
         }});
  }

  /// All of them or none. Fewer numbers than there are keys leave the rest as they are.
  Status set_limits(ipc::IpcNamespace& shown, const fuse::TextWriter& writer, const Keys& keys,
                    std::string_view text) const {
    const auto numbers = parse_numbers(text, keys.size());
    if (!numbers) return numbers.error();
    ipc::Limits wanted = shown.limits();
    for (size_t index = 0; index < numbers->size(); ++index) {
      const auto value = static_cast<uint64_t>((*numbers)[index]);
      if (const Status allowed = source_.check_limit(writer, keys[index], value); !allowed) return allowed;
      // ipc/ipc_sysctl.c:proc_ipc_sem_dointvec has another word for this one.
      if (const Status set = wanted.set(keys[index], value); !set) {
        return std::string_view(keys[index]) == "semmni" ? Error{ERANGE} : set.error();
      }
    }
    shown.limits() = wanted;
    return {};
  }

  const ProcViewSource source_;
  const uid_t uid_;
  const gid_t gid_;
  std::vector<File> files_;
  std::vector<Content> contents_;
};

}  // namespace

std::unique_ptr<fuse::TextTree> make_proc_view(ProcViewSource source, uid_t uid, gid_t gid) {
  return std::make_unique<ProcView>(std::move(source), uid, gid);
}

}  // namespace mqueuefs::daemon
