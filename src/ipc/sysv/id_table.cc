#include "ipc/sysv/id_table.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <utility>

#include "base/check.h"

namespace mqueuefs::ipc::sysv {
namespace {

constexpr int kShortestCycle = 64;           // ipc_min_cycle
constexpr uint32_t kLastSequence = INT_MAX >> 15;  // ipcid_seq_max(); no cycle gets there, but a wish may
constexpr int kWord = 64;

int index_of(int id) { return id & (kIndexes - 1); }

}  // namespace

ObjectTable::ObjectTable() : taken_(kIndexes / kWord) {}
ObjectTable::~ObjectTable() = default;

Object* ObjectTable::find(int id) const {
  Object* const object = id < 0 ? nullptr : find_by_index(id);
  return object != nullptr && object->id() == id ? object : nullptr;
}

Object* ObjectTable::find_by_index(int id) const {
  if (id < 0) return nullptr;
  const auto index = static_cast<size_t>(index_of(id));
  return index < places_.size() ? places_[index].get() : nullptr;
}

Object* ObjectTable::find_by_key(key_t key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Object* ObjectTable::next_from(int index) const {
  for (auto word = static_cast<size_t>(std::max(index, 0)) / kWord; word < taken_.size(); ++word) {
    uint64_t bits = taken_[word];
    if (index > static_cast<int>(word) * kWord) bits &= ~uint64_t{0} << (index % kWord);
    if (bits != 0) return places_[word * kWord + static_cast<size_t>(std::countr_zero(bits))].get();
  }
  return nullptr;
}

// The first free index in [from, end), or -1.
int ObjectTable::next_free_index(int from, int end) const {
  for (int index = from; index < end;) {
    const uint64_t free = ~taken_[static_cast<size_t>(index / kWord)] & (~uint64_t{0} << (index % kWord));
    index = index / kWord * kWord;
    if (free != 0) {
      index += std::countr_zero(free);
      return index < end ? index : -1;
    }
    index += kWord;
  }
  return -1;
}

Result<int> ObjectTable::new_id(uint32_t limit) {
  if (count_ >= std::min<uint32_t>(limit, kIndexes)) return Error{ENOSPC, "as many objects as there may be"};
  if (next_id_ >= 0) {
    const int index = next_free_index(index_of(next_id_), kIndexes);
    if (index >= 0) return (next_id_ & ~(kIndexes - 1)) + index;
    next_id_ = -1;
    return Error{ENOSPC, "no place from the one asked for on"};
  }
  // ipc_idr_alloc(): the cycle is half as long again as there are objects.
  const int end = std::min(std::max(static_cast<int>(count_) * 3 / 2, kShortestCycle), kIndexes);
  int index = next_free_index(cursor_, end);
  if (index < 0) index = next_free_index(0, end);
  if (index < 0) return Error{ENOSPC, "no place in the cycle"};
  const uint32_t sequence = index > last_index_ ? sequence_ : sequence_ + 1 >= kLastSequence ? 0 : sequence_ + 1;
  return static_cast<int>(sequence) * kIndexes + index;
}

void ObjectTable::add(int id, std::unique_ptr<Object> object) {
  MQUEUEFS_CHECK(id >= 0);
  if (next_id_ >= 0) {
    next_id_ = -1;
  } else {
    last_index_ = index_of(id);
    cursor_ = last_index_ + 1;
    sequence_ = static_cast<uint32_t>(id) / kIndexes;
  }
  object->permissions_.id = id;
  if (const key_t key = object->permissions_.key; key != IPC_PRIVATE) {
    MQUEUEFS_CHECK(by_key_.emplace(key, object.get()).second);
  }
  put(index_of(id), std::move(object));
  count_++;
}

std::unique_ptr<Object> ObjectTable::remove(Object& object) {
  make_private(object);
  count_--;
  return take(index_of(object.id()));
}

void ObjectTable::make_private(Object& object) {
  if (object.permissions_.key != IPC_PRIVATE) by_key_.erase(object.permissions_.key);
  object.permissions_.key = IPC_PRIVATE;
}

void ObjectTable::put(int index, std::unique_ptr<Object> object) {
  const auto place = static_cast<size_t>(index);
  if (place >= places_.size()) places_.resize(place + 1);
  MQUEUEFS_CHECK(places_[place] == nullptr);
  places_[place] = std::move(object);
  taken_[place / kWord] |= uint64_t{1} << (place % kWord);
  greatest_index_ = std::max(greatest_index_, index);
}

std::unique_ptr<Object> ObjectTable::take(int index) {
  const auto place = static_cast<size_t>(index);
  MQUEUEFS_CHECK(place < places_.size() && places_[place] != nullptr);
  std::unique_ptr<Object> object = std::move(places_[place]);
  taken_[place / kWord] &= ~(uint64_t{1} << (place % kWord));
  if (index == greatest_index_) {
    size_t word = place / kWord;
    while (word > 0 && taken_[word] == 0) word--;
    greatest_index_ = static_cast<int>(word) * kWord + kWord - 1 - std::countl_zero(taken_[word]);
  }
  return object;
}

Status ObjectTable::set_next_id(int id) {
  if (id < -1) return Error{EINVAL, "next id"};
  next_id_ = id;
  return {};
}

Status ObjectTable::change_id(int id, int new_id) {
  const IdChange change{id, new_id};
  return permute({&change, 1});
}

Status ObjectTable::permute(std::span<const IdChange> changes) {
  if (changes.size() > kIndexes) return Error{EINVAL, "more than there can be"};
  std::vector<bool> leaves(kIndexes), arrives(kIndexes);
  for (const IdChange& change : changes) {
    if (find(change.from) == nullptr) return Error{EINVAL, "no such object"};
    if (change.to < 0) return Error{EINVAL, "not an id"};
    if (leaves[static_cast<size_t>(index_of(change.from))]) return Error{EINVAL, "object named twice"};
    if (arrives[static_cast<size_t>(index_of(change.to))]) return Error{EINVAL, "two for one place"};
    leaves[static_cast<size_t>(index_of(change.from))] = true;
    arrives[static_cast<size_t>(index_of(change.to))] = true;
  }
  for (const IdChange& change : changes) {
    if (find_by_index(change.to) != nullptr && !leaves[static_cast<size_t>(index_of(change.to))]) {
      return Error{EBUSY, "the place is another's"};
    }
  }
  // Nothing fails from here on: all leave their places, then all arrive.
  std::vector<std::unique_ptr<Object>> moving;
  moving.reserve(changes.size());
  for (const IdChange& change : changes) moving.push_back(take(index_of(change.from)));
  for (size_t i = 0; i < changes.size(); ++i) {
    moving[i]->permissions_.id = changes[i].to;
    put(index_of(changes[i].to), std::move(moving[i]));
  }
  return {};
}

Result<Object*> get_existing(const ObjectTable& table, const Caller& caller, key_t key, int flags,
                             const std::function<bool(const Object&)>& is_too_small) {
  Object* const object = key == IPC_PRIVATE ? nullptr : table.find_by_key(key);
  if (object == nullptr) {
    if (key != IPC_PRIVATE && (flags & IPC_CREAT) == 0) return Error{ENOENT, "no such key"};
    return object;
  }
  if ((flags & IPC_CREAT) != 0 && (flags & IPC_EXCL) != 0) return Error{EEXIST, "key"};
  if (is_too_small(*object)) return Error{EINVAL, "smaller than asked for"};
  if (!may_access(object->permissions(), caller, static_cast<unsigned>(flags))) return Error{EACCES, "mode"};
  return object;
}

}  // namespace mqueuefs::ipc::sysv
