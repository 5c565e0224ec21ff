// Which objects of one kind there are, by id and by key: message queues, semaphore arrays, or shared memory.
//
//   id = sequence * 32768 + index       0 <= index < 32768, 0 <= sequence <= 65535            (doc/behaviour.md H1)
//
// The index is the object's place; the sequence tells it from those that had the place before it, so that an id that is
// out of date finds nothing. New objects take the places in a cycle, which is short (64) as long as there are few.
//
// Invariants: each object is in its id's place, and nowhere else; each key but IPC_PRIVATE belongs to at most one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ipc/sysv/permissions.h"

namespace mqueuefs::ipc::sysv {

inline constexpr int kIndexes = 32768;  ///< IPCMNI

/// What is in a table.
class Object {
 public:
  explicit Object(const Permissions& permissions) : permissions_(permissions) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  int id() const { return permissions_.id; }
  const Permissions& permissions() const { return permissions_; }

 protected:
  Permissions permissions_;

 private:
  friend class ObjectTable;
};

/// One element of a permutation: the object that is `from` becomes `to`.
struct IdChange {
  int from = -1;
  int to = -1;
};

/// Thread rule: the loop's. Look-ups are O(1); a new id costs at most 512 words of a bit map.
class ObjectTable {
 public:
  ObjectTable();
  ObjectTable(const ObjectTable&) = delete;
  ObjectTable& operator=(const ObjectTable&) = delete;
  ~ObjectTable();

  uint32_t count() const { return count_; }
  /// The greatest index in use, or -1: what IPC_INFO and the like return (0 then).
  int greatest_index() const { return greatest_index_; }

  /// The object, or null: none is there, or it has another sequence; or negative.
  Object* find(int id) const;
  /// Whatever is in the place of `id`, whose sequence does not matter: MSG_STAT and the like. Or null.
  Object* find_by_index(int id) const;
  /// Null for IPC_PRIVATE.
  Object* find_by_key(key_t key) const;
  /// The first one with an index of at least `index`, or null: the order of /proc/sysvipc.
  Object* next_from(int index) const;

  /// The id that the next object gets. Nothing changes yet, except: ENOSPC: `limit` objects exist, or the place asked for
  /// with set_next_id() and all after it are taken; then that wish is forgotten, as in ipc_idr_alloc().
  Result<int> new_id(uint32_t limit);
  /// Adds `object` with the id that new_id(), called directly before, has said. Its key must be free.
  void add(int id, std::unique_ptr<Object> object);
  std::unique_ptr<Object> remove(Object& object);
  /// Nobody finds it by its key any more.
  void make_private(Object& object);

  /// {msg,sem,shm}_next_id: the next object gets this id; or, if its index is taken, the next free index after it, with
  /// the sequence asked for. -1: no such wish. (doc/behaviour.md H3; ipc_idr_alloc() of ipc/util.c)  EINVAL: less than -1.
  Status set_next_id(int id);
  int next_id() const { return next_id_; }

  /// doc/behaviour.md H4. EINVAL: no object is `id`, or `new_id` is negative. EBUSY: the place of `new_id` is another's.
  /// Nothing else of it changes; the same id again is no error.
  Status change_id(int id, int new_id);

  /// doc/behaviour.md H5: all of `changes`, or, if one of them cannot be, none; in one step, so A may become B while B becomes A, and
  /// a place that one leaves is free for another. EINVAL: no such object, a negative id, an object named twice, two that
  /// would get the same place. EBUSY: a place is that of an object that does not leave it.
  Status permute(std::span<const IdChange> changes);

 private:
  int next_free_index(int from, int end) const;
  void put(int index, std::unique_ptr<Object> object);
  std::unique_ptr<Object> take(int index);

  std::vector<std::unique_ptr<Object>> places_;  // as many as were ever needed
  std::vector<uint64_t> taken_;                  // one bit a place
  std::unordered_map<key_t, Object*> by_key_;
  uint32_t count_ = 0;
  int greatest_index_ = -1;
  int next_id_ = -1;
  int cursor_ = 0;       // where the cycle goes on
  int last_index_ = -1;  // that the cycle gave out
  uint32_t sequence_ = 0;
};

/// The same for one kind of object.
template <typename T>
class IdTable : public ObjectTable {
 public:
  T* find(int id) const { return static_cast<T*>(ObjectTable::find(id)); }
  T* find_by_index(int id) const { return static_cast<T*>(ObjectTable::find_by_index(id)); }
  T* find_by_key(key_t key) const { return static_cast<T*>(ObjectTable::find_by_key(key)); }
  T* next_from(int index) const { return static_cast<T*>(ObjectTable::next_from(index)); }
};

/// ipcget() of ipc/util.c: what {msg,sem,shm}get have in common. No value: a new object has to be made.
/// `is_too_small`: the existing object does not do for what is asked.
/// Errors, in this order: ENOENT: the key is nobody's, and no IPC_CREAT. EEXIST: IPC_CREAT and IPC_EXCL. EINVAL: too
/// small. EACCES: the bits in `flags`.
Result<Object*> get_existing(const ObjectTable& table, const Caller& caller, key_t key, int flags,
                             const std::function<bool(const Object&)>& is_too_small);

}  // namespace mqueuefs::ipc::sysv
