#include "world.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "segment/tagged.h"

namespace mqueuefs::testing {
namespace {

constexpr size_t kPage = 4096;

}  // namespace

World::World(uint32_t maxmsg, uint32_t fibers)
    : fibers_(fibers),
      scheduler_(fibers),
      base_([&] {
        void* at = mmap(nullptr, Format::of({maxmsg, 8}).size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MQUEUEFS_CHECK(at != MAP_FAILED);
        return static_cast<std::byte*>(at);
      }()),
      queue_({maxmsg, 8}, base_) {
  queue_.initialize();
  // Member `fibers` is who sets up, buries and drains.
  for (uint32_t fiber = 0; fiber <= fibers; ++fiber) MQUEUEFS_CHECK(*queue_.join(fiber + 1, 1) == fiber);
  start_.maxmsg = maxmsg;
  buried_.resize(fibers);
}

World::~World() { munmap(base_, queue_.format().size); }

void World::begin_here() {
  for (const Call& call : calls_) MQUEUEFS_CHECK(start_.happens(call));
  calls_.clear();
  start_.taken.clear();
  const Format& format = queue_.format();
  const size_t offsets[] = {0,
                            format.leaves,
                            format.leaves + kPage,
                            format.lists,
                            format.returned,
                            format.members,
                            format.members + kPage,
                            format.waiters,
                            format.slot_table,
                            format.payloads};
  for (const size_t offset : offsets) {
    const size_t page = offset / kPage * kPage;
    pages_.push_back({page, std::vector<std::byte>(base_ + page, base_ + page + kPage)});
  }
}

void World::restore() {
  for (const Page& page : pages_) memcpy(base_ + page.offset, page.content.data(), kPage);
  calls_.clear();
  infos_.clear();
  trouble_.clear();
  keys_ = 0;
  setup_clock_ = 0;
  buried_.assign(fibers_, false);
}

bool World::stayed_in_snapshot() const {
  for (size_t offset = 0; offset < queue_.format().size; offset += kPage) {
    bool known = false;
    for (const Page& page : pages_) known = known || page.offset == offset;
    if (known) continue;
    for (size_t at = 0; at < kPage; ++at) {
      if (base_[offset + at] != std::byte{0}) return false;
    }
  }
  return true;
}

Seat World::seat() const {
  if (!running_) return {fibers_, 0};
  return {scheduler_.current(), scheduler_.level()};
}

size_t World::begin(Operation operation, uint32_t priority, uint64_t id) {
  Call call;
  call.operation = operation;
  call.fiber = seat().member;
  call.priority = priority;
  call.id = id;
  call.began = running_ ? scheduler_.now() : ++setup_clock_;
  calls_.push_back(call);
  return calls_.size() - 1;
}

void World::end(size_t call, int error, uint64_t result) {
  calls_[call].error = error;
  calls_[call].result = result;
  calls_[call].ended = running_ ? scheduler_.now() : ++setup_clock_;
  if (error != 0 && error != EAGAIN) trouble_ += "errno " + std::to_string(error) + "; ";
}

bool World::send(uint32_t priority, uint64_t id) {
  Aftermath after;
  const size_t call = begin(Operation::kSend, priority, id);
  const Status sent = queue_.try_send(seat(), priority, std::as_bytes(std::span(&id, 1)), after);
  end(call, sent.code());
  return sent.ok();
}

uint64_t World::receive() {
  Aftermath after;
  uint64_t id = 0;
  const size_t call = begin(Operation::kReceive);
  const auto info = queue_.try_receive(seat(), std::as_writable_bytes(std::span(&id, 1)), after);
  end(call, info.code(), id);
  if (!info) return 0;
  if (infos_.size() <= id) infos_.resize(id + 1);
  infos_[id] = *info;
  return id;
}

void World::look() {
  Aftermath after;
  const size_t call = begin(Operation::kLook);
  PeekPosition position;
  uint64_t id = 0;
  const auto info = queue_.peek(position, 0, std::as_writable_bytes(std::span(&id, 1)), after);
  end(call, info.code(), id);
}

void World::peek() {
  Aftermath after;
  PeekPosition position;
  for (int messages = 0; messages < 10; ++messages) {
    uint64_t id = 0;
    const auto info = queue_.peek(position, 0, std::as_writable_bytes(std::span(&id, 1)), after);
    if (info.ok()) continue;
    if (info.code() != EAGAIN && info.code() != EBUSY) trouble_ += "peek: errno " + std::to_string(info.code()) + "; ";
    return;
  }
}

uint64_t World::finish_receive(uint32_t waiter, uint32_t key) {
  uint64_t id = 0;
  const size_t call = begin(Operation::kFinish);
  calls_[call].key = key;
  const auto info = queue_.finish_receive(seat(), waiter, std::as_writable_bytes(std::span(&id, 1)));
  end(call, info.code(), id);
  if (!info) return 0;
  if (infos_.size() <= id) infos_.resize(id + 1);
  infos_[id] = *info;
  return id;
}

uint64_t World::wait_and_receive(uint32_t rank, bool sleeps) {
  Aftermath after;
  const uint32_t key = ++keys_;
  const size_t waits = begin(Operation::kWaitReceive);
  calls_[waits].key = key;
  calls_[waits].rank = rank;
  const auto waiter = queue_.wait_to_receive(seat(), rank, kReceives, 0, after);
  end(waits, waiter.code());
  if (!waiter) return receive();
  if (sleeps) static_cast<void>(queue_.fall_asleep(*waiter));
  const uint32_t index = *waiter;
  if (!scheduler_.wait_until([this, index] { return queue_.wait_state(index) != Wait::kGoesOn; })) {
    const size_t call = begin(Operation::kCancel);
    calls_[call].key = key;
    const auto ended = queue_.cancel_wait(index, after);
    end(call, ended.code(), ended.ok() && *ended == Wait::kServed ? 1 : 0);
    if (!ended || *ended != Wait::kServed) {
      queue_.finish_wait(seat(), index);
      return 0;
    }
  }
  return finish_receive(index, key);
}

uint64_t World::wait_and_cancel(uint32_t rank) {
  Aftermath after;
  const uint32_t key = ++keys_;
  const size_t waits = begin(Operation::kWaitReceive);
  calls_[waits].key = key;
  calls_[waits].rank = rank;
  const auto waiter = queue_.wait_to_receive(seat(), rank, kReceives, 0, after);
  end(waits, waiter.code());
  if (!waiter) return 0;
  const size_t call = begin(Operation::kCancel);
  calls_[call].key = key;
  const auto ended = queue_.cancel_wait(*waiter, after);
  end(call, ended.code(), ended.ok() && *ended == Wait::kServed ? 1 : 0);
  if (ended.ok() && *ended == Wait::kServed) return finish_receive(*waiter, key);
  queue_.finish_wait(seat(), *waiter);
  return 0;
}

bool World::wait_and_send(uint32_t rank, uint32_t priority, uint64_t id, bool sleeps) {
  Aftermath after;
  const uint32_t key = ++keys_;
  const size_t waits = begin(Operation::kWaitSend, priority, id);
  calls_[waits].key = key;
  calls_[waits].rank = rank;
  const auto waiter =
      queue_.wait_to_send(seat(), priority, std::as_bytes(std::span(&id, 1)), rank, kSends, 0, after);
  end(waits, waiter.code());
  if (!waiter) return send(priority, id);
  if (sleeps) static_cast<void>(queue_.fall_asleep(*waiter));
  const uint32_t index = *waiter;
  bool served = scheduler_.wait_until([this, index] { return queue_.wait_state(index) != Wait::kGoesOn; });
  if (!served) {
    const size_t call = begin(Operation::kCancel);
    calls_[call].key = key;
    const auto ended = queue_.cancel_wait(index, after);
    served = ended.ok() && *ended == Wait::kServed;
    end(call, ended.code(), served ? 1 : 0);
  }
  if (!served) {
    queue_.finish_wait(seat(), index);
    return false;
  }
  const size_t call = begin(Operation::kFinish);
  calls_[call].key = key;
  queue_.finish_wait(seat(), index);
  end(call, 0);
  return true;
}

bool World::wait_and_cancel_send(uint32_t rank, uint32_t priority, uint64_t id) {
  Aftermath after;
  const uint32_t key = ++keys_;
  const size_t waits = begin(Operation::kWaitSend, priority, id);
  calls_[waits].key = key;
  calls_[waits].rank = rank;
  const auto waiter =
      queue_.wait_to_send(seat(), priority, std::as_bytes(std::span(&id, 1)), rank, kSends, 0, after);
  end(waits, waiter.code());
  if (!waiter) return false;
  const size_t call = begin(Operation::kCancel);
  calls_[call].key = key;
  const auto ended = queue_.cancel_wait(*waiter, after);
  const bool served = ended.ok() && *ended == Wait::kServed;
  end(call, ended.code(), served ? 1 : 0);
  if (!served) {
    queue_.finish_wait(seat(), *waiter);
    return false;
  }
  const size_t finish = begin(Operation::kFinish);
  calls_[finish].key = key;
  queue_.finish_wait(seat(), *waiter);
  end(finish, 0);
  return true;
}

void World::give_back(uint64_t id) {
  if (id == 0) return;
  Aftermath after;
  const size_t call = begin(Operation::kGiveBack, infos_[id].priority, id);
  const Status given = queue_.give_back(seat(), infos_[id], std::as_bytes(std::span(&id, 1)), after);
  end(call, given.code());
}

bool World::reserve() {
  Aftermath after;
  const size_t call = begin(Operation::kReserve);
  const Status reserved = queue_.reserve_place(after);
  end(call, reserved.code());
  return reserved.ok();
}

bool World::wait_and_reserve(uint32_t rank) {
  Aftermath after;
  const uint32_t key = ++keys_;
  const size_t waits = begin(Operation::kWaitPlace);
  calls_[waits].key = key;
  calls_[waits].rank = rank;
  const auto waiter = queue_.wait_for_place(seat(), rank, 0, after);
  end(waits, waiter.code());
  if (!waiter) return reserve();
  const uint32_t index = *waiter;
  bool served = scheduler_.wait_until([this, index] { return queue_.wait_state(index) != Wait::kGoesOn; });
  if (!served) {
    const size_t call = begin(Operation::kCancel);
    calls_[call].key = key;
    const auto ended = queue_.cancel_wait(index, after);
    served = ended.ok() && *ended == Wait::kServed;
    end(call, ended.code(), served ? 1 : 0);
  }
  if (served) {
    queue_.take_granted_place();
    const size_t call = begin(Operation::kFinish);
    calls_[call].key = key;
    end(call, 0);
  }
  queue_.finish_wait(seat(), index);
  return served;
}

void World::send_reserved(uint32_t priority, uint64_t id) {
  Aftermath after;
  const size_t call = begin(Operation::kSendReserved, priority, id);
  const Status sent = queue_.send_reserved(seat(), priority, std::as_bytes(std::span(&id, 1)), after);
  end(call, sent.code());
}

void World::drop_reserved() {
  Aftermath after;
  const size_t call = begin(Operation::kDropReserved);
  const Status dropped = queue_.drop_reserved(after);
  end(call, dropped.code());
}

void World::reclaim() {
  const auto reclaimed = queue_.reclaim();
  if (!reclaimed && reclaimed.code() != EAGAIN) trouble_ += "reclaim: errno " + std::to_string(reclaimed.code()) + "; ";
}

void World::bury(uint32_t fiber) {
  Aftermath after;
  const size_t call = begin(Operation::kBury);
  calls_[call].fiber = fiber;
  const Status buried = queue_.bury(seat(), fiber + 1, after);
  end(call, buried.code());
  buried_[fiber] = true;
}

void World::bury_dead() {
  for (uint32_t fiber = 0; fiber < fibers_; ++fiber) {
    if (scheduler_.died(fiber) && !buried_[fiber]) bury(fiber);
  }
}

// Every slot that was ever used is free or held; nobody works, and the queue is empty.
std::string World::slots_accounted_for() const {
  const Format& format = queue_.format();
  const auto& header = *reinterpret_cast<const Header*>(base_);
  const uint64_t word = header.free_slots.high.load();
  const auto used = static_cast<uint32_t>(word >> 32);
  const auto* slots = reinterpret_cast<const Slot*>(base_ + format.slot_table);
  std::vector<int> seen(used + 1);
  for (auto at = static_cast<uint32_t>(word); at != kNoSlot; at = slots[at - 1].free_next.load()) {
    if (at > used || seen[at]++ != 0) return "the free list is broken";
  }
  for (uint32_t member = 0; member <= fibers_; ++member) {
    for (const Level& level : reinterpret_cast<const Member*>(base_ + format.members)[member].levels) {
      const uint32_t held = level.held.load();
      if (held != kNoSlot && (held > used || seen[held]++ != 0)) return "a slot is held and elsewhere";
    }
  }
  for (uint32_t slot = 1; slot <= used; ++slot) {
    if (seen[slot] != 1) return "slot " + std::to_string(slot) + " is lost";
  }
  return "";
}

std::string World::run(const Schedule& schedule, const std::vector<Scheduler::Body>& bodies,
                       const Scheduler::Body& handler, bool verifies) {
  restore();
  running_ = true;
  const bool ended = scheduler_.run(schedule, bodies, handler);
  std::string trouble = ended ? "" : "it never ends; ";
  setup_clock_ = scheduler_.now();
  running_ = false;
  if (ended) {
    bury_dead();
    if (verifies) {
      const Status verified = queue_.verify();
      if (!verified) trouble += std::string("verify: ") + (verified.error().step ? verified.error().step : "?") + "; ";
    }
    const auto reclaimed = queue_.reclaim();
    if (!reclaimed) trouble += "reclaim says errno " + std::to_string(reclaimed.code()) + "; ";
    if (queue_.payload_bytes() != queue_.messages() * sizeof(uint64_t)) trouble += "the bytes are counted wrong; ";
    // Places that a dead owner kept are not modelled: only owners keep any, and their queue ends with them.
    for (int left = 0; left < 40 && receive() != 0; ++left) {
    }
    trouble += slots_accounted_for();
    if (queue_.messages() != 0) trouble += "messages are counted that are not there; ";
    if (queue_.dead()) trouble += "the queue is dead; ";
    trouble += trouble_;
    if (trouble.empty() && !linearizable(start_, calls_)) trouble = "not linearizable; ";
  }
  if (trouble.empty()) return "";
  return trouble + "\n" + schedule.text() + "\n" + text_of(calls_);
}

}  // namespace mqueuefs::testing
