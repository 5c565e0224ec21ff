// What threads have said about the queue that they are going to create next. See Announcement in messages.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "control/messages.h"
#include "ipc/held_queue.h"
#include "ipc/limits.h"
#include "ipc/task_info.h"

namespace mqueuefs::control {

/// One for each thread at most. Thread rule: the loop's.
class Announcements {
 public:
  /// Replaces what the thread had announced. `connection` is whose end drops it.
  void put(ipc::TaskId thread, uint64_t connection, std::string_view name,
           const ipc::AnnouncedCreation& creation) {
    by_thread_.insert_or_assign(thread, Entry{connection, std::string(name), creation});
  }

  void drop(ipc::TaskId thread) { by_thread_.erase(thread); }

  void drop_connection(uint64_t connection) {
    std::erase_if(by_thread_,
                  [connection](const auto& item) { return item.second.connection == connection; });
    std::erase_if(collections_,
                  [connection](const auto& item) { return item.second.connection == connection; });
  }

  /// The thread's next unlink of `name` is to succeed only if that is still the queue that `seen` tells of, and nobody
  /// holds it.
  void put_collection(ipc::TaskId thread, uint64_t connection, std::string_view name, const Collect& seen) {
    collections_.insert_or_assign(thread, Collection{connection, std::string(name), seen});
  }
  /// Drops it, and returns what was seen if it was for `name`.
  std::optional<Collect> take_collection(ipc::TaskId thread, std::string_view name) {
    const auto found = collections_.find(thread);
    if (found == collections_.end()) return std::nullopt;
    const Collection collection = std::move(found->second);
    collections_.erase(found);
    if (collection.name != name) return std::nullopt;
    return collection.seen;
  }

  /// Drops what the thread had announced, and returns it if it was for `name`.
  std::optional<ipc::AnnouncedCreation> take(ipc::TaskId thread, std::string_view name) {
    const auto found = by_thread_.find(thread);
    if (found == by_thread_.end()) return std::nullopt;
    const Entry entry = std::move(found->second);
    by_thread_.erase(found);
    if (entry.name != name) return std::nullopt;
    return entry.creation;
  }

  /// Whether somebody acts in another's place under this name: what it unlinks may come back.
  bool is_in_place(ipc::TaskId thread, std::string_view name) const {
    const auto found = by_thread_.find(thread);
    return found != by_thread_.end() && found->second.name == name && found->second.creation.in_place_of != 0;
  }
  /// is_in_place() has said so.
  void note_unlinked(ipc::TaskId thread, std::shared_ptr<ipc::HeldQueue> queue) {
    by_thread_.at(thread).creation.unlinked = std::move(queue);
  }

  size_t size() const { return by_thread_.size(); }

 private:
  struct Entry {
    uint64_t connection;
    std::string name;
    ipc::AnnouncedCreation creation;
  };
  struct Collection {
    uint64_t connection;
    std::string name;
    Collect seen;
  };
  std::unordered_map<ipc::TaskId, Entry> by_thread_;
  std::unordered_map<ipc::TaskId, Collection> collections_;
};

}  // namespace mqueuefs::control
