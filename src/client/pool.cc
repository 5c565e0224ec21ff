#include "client/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "client/descriptors.h"

#ifndef MQUEUEFS_PROGRAM_PATH
#define MQUEUEFS_PROGRAM_PATH "/usr/bin/mqueuefs"
#endif

namespace mqueuefs::client {
namespace {

enum State : uint32_t { kEmpty = 0, kBusy, kIdle };

struct Slot {
  std::atomic<uint32_t> state;
  // The rest belongs to who made it kBusy.
  int fd;
  uint64_t channel;
  SocketIdentity socket;
  uid_t uid;  // whose connection the daemon takes it for
  gid_t gid;
};

constexpr int kSlots = 64;

struct Table {
  std::atomic<pid_t> owner;  // 0: nobody's yet
  Slot slots[kSlots];
};

constinit std::atomic<Table*> mapped{nullptr};

// Null: no memory that a child would find empty, or it is another process's.
Table* own_table(pid_t self) {
  Table* table = mapped.load(std::memory_order_acquire);
  if (table == nullptr) {
    void* const memory = mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    if (madvise(memory, sizeof(Table), MADV_WIPEONFORK) != 0) {
      munmap(memory, sizeof(Table));
      return nullptr;
    }
    if (mapped.compare_exchange_strong(table, static_cast<Table*>(memory))) {
      table = static_cast<Table*>(memory);
    } else {
      munmap(memory, sizeof(Table));
    }
  }
  pid_t owner = 0;
  return table->owner.compare_exchange_strong(owner, self) || owner == self ? table : nullptr;
}

bool take(Slot& slot, State from) {
  uint32_t expected = from;
  return slot.state.load(std::memory_order_relaxed) == from &&
         slot.state.compare_exchange_strong(expected, kBusy, std::memory_order_acquire);
}

void put(Slot& slot, State to) { slot.state.store(to, std::memory_order_release); }

// Copies of our sockets in a forked child would keep them open when we are gone: it closes them at once if the
// C library forks. (A child of the raw system call keeps them; the daemon notices our end all the same.)
struct Kept {
  std::atomic<int> fd;
  SocketIdentity socket;
};
Kept kept[kSlots];  // fd + 1; survives the fork

void close_copies() {
  for (Kept& copy : kept) {
    const int fd = copy.fd.exchange(0) - 1;
    if (fd >= 0 && identity_of(fd) == copy.socket) close(fd);
  }
}

void remember(int slot, int fd, const SocketIdentity& socket) {
  static constinit std::atomic<bool> registered{false};
  kept[slot].socket = socket;
  kept[slot].fd.store(fd + 1);
  if (!registered.exchange(true)) pthread_atfork(nullptr, nullptr, close_copies);
}

}  // namespace

const char* daemon_program() {
  const char* chosen = secure_getenv("MQUEUEFS_PROGRAM");
  return chosen != nullptr && *chosen == '/' ? chosen : MQUEUEFS_PROGRAM_PATH;
}

Result<Connection*> Lease::connection() {
  if (connection_) return &*connection_;
  own_ = {getpid(), geteuid(), getegid()};
  Table* const table = own_table(own_.pid);
  for (int i = 0; table != nullptr && i < kSlots; ++i) {
    Slot& slot = table->slots[i];
    if (!take(slot, kIdle)) continue;
    if (identity_of(slot.fd) != slot.socket) {
      put(slot, kEmpty);
      continue;
    }
    connection_.emplace(Connection::adopt(UniqueFd(slot.fd), slot.channel));
    connection_->set_identity(own_);
    if (slot.uid != own_.uid || slot.gid != own_.gid) {
      connection_->drop();
      connection_.reset();
      put(slot, kEmpty);
      continue;
    }
    slot_ = i;
    was_idle_ = true;
    return &*connection_;
  }
  return make_new();
}

Result<Connection*> Lease::make_new() {
  was_idle_ = false;
  auto made = Connection::connect(start_, daemon_program());
  if (!made) return made.error();
  connection_.emplace(std::move(*made));
  connection_->set_identity(own_);
  Table* const table = own_table(own_.pid);
  for (int i = 0; table != nullptr && i < kSlots; ++i) {
    Slot& slot = table->slots[i];
    if (!take(slot, kEmpty)) continue;
    slot.fd = connection_->fd();
    slot.channel = connection_->channel();
    slot.socket = identity_of(slot.fd);
    slot.uid = own_.uid;
    slot.gid = own_.gid;
    slot_ = i;
    remember(i, slot.fd, slot.socket);
    break;
  }
  return &*connection_;
}

Result<Connection*> Lease::renewed() {
  drop();
  own_ = {getpid(), geteuid(), getegid()};
  return make_new();
}

void Lease::drop() {
  if (connection_) connection_->drop();
  give_back();
}

void Lease::give_back() {
  if (slot_ >= 0) {
    Table* const table = mapped.load(std::memory_order_relaxed);
    const bool keep = connection_ && connection_->healthy();
    if (keep) {
      connection_->release();
    } else {
      kept[slot_].fd.store(0);
    }
    put(table->slots[slot_], keep ? kIdle : kEmpty);
    slot_ = -1;
  }
  connection_.reset();
}

}  // namespace mqueuefs::client
