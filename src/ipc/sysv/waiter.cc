#include "ipc/sysv/waiter.h"

#include <utility>

#include "base/check.h"

namespace mqueuefs::ipc::sysv {

Charge& Charge::operator=(Charge&& other) noexcept {
  if (this == &other) return *this;
  release();
  budget_ = std::exchange(other.budget_, nullptr);
  uid_ = other.uid_;
  bytes_ = other.bytes_;
  return *this;
}

Result<Charge> Charge::reserve(MemoryBudget& budget, uid_t uid, uint64_t bytes) {
  if (const Status reserved = budget.reserve(uid, bytes); !reserved) return reserved.error();
  return Charge(budget, uid, bytes);
}

Charge Charge::take(MemoryBudget& budget, uid_t uid, uint64_t bytes) {
  budget.take(uid, bytes);
  return {budget, uid, bytes};
}

void Charge::move_to(uid_t uid) {
  if (budget_ == nullptr || uid == uid_) return;
  budget_->take(uid, bytes_);
  budget_->give_back(std::exchange(uid_, uid), bytes_);
}

void Charge::release() {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->give_back(uid_, bytes_);
}

Waiter::~Waiter() {
  // The derived class has called cancel() or end() while it could still be offered things.
  MQUEUEFS_CHECK(place_ == nullptr);
}

bool Waiter::cancel() {
  if (place_ == nullptr) return false;
  WaitPlace* const place = place_;
  place->detach();
  place->leave();
  return true;
}

void Waiter::end(int code) {
  if (cancel()) offer(code, nullptr);
}

WaitPlace::WaitPlace(Waiter& waiter, const Caller& caller) : waiter_(&waiter), caller_(caller) {
  MQUEUEFS_CHECK(waiter.place_ == nullptr);
  waiter.place_ = this;
}

bool WaitPlace::offer(int code, const Received* received) {
  Waiter* const waiter = waiter_;
  MQUEUEFS_CHECK(waiter != nullptr);
  detach();
  return waiter->offer(code, received);
}

void WaitPlace::detach() {
  if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->place_ = nullptr;
}

}  // namespace mqueuefs::ipc::sysv
