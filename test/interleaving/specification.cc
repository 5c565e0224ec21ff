#include "specification.h"

#include <algorithm>
#include <cerrno>

namespace mqueuefs::testing {

void Specification::insert(const Message& message) {
  const auto behind = std::find_if(messages.begin(), messages.end(), [&](const Message& other) {
    return other.priority < message.priority ||
           (other.priority == message.priority && other.sequence > message.sequence);
  });
  messages.insert(behind, message);
}

Specification::Waiter* Specification::best(bool sends) {
  Waiter* best = nullptr;
  for (Waiter& waiter : waiters) {
    if (waiter.sends != sends || waiter.served) continue;
    if (best == nullptr || waiter.rank < best->rank) best = &waiter;
  }
  return best;
}

void Specification::deliver(const Message& message) {
  if (Waiter* receiver = best(false)) {
    receiver->served = true;
    receiver->message = message;
  } else {
    insert(message);
  }
}

void Specification::admit() {
  while (!full()) {
    Waiter* sender = best(true);
    if (sender == nullptr) return;
    sender->served = true;
    if (sender->place) {
      ++reserved;
      continue;
    }
    sender->message.sequence = ++clock;
    deliver(sender->message);
  }
}

bool Specification::happens(const Call& call) {
  const bool any = call.ended == 0;
  const auto waiter = std::find_if(waiters.begin(), waiters.end(), [&](const Waiter& one) { return one.key == call.key; });
  switch (call.operation) {
    case Operation::kSend:
      if (full()) return any || call.error == EAGAIN;
      if (!any && call.error != 0) return false;
      deliver({call.priority, ++clock, call.id});
      return true;
    case Operation::kReceive:
    case Operation::kLook: {
      if (messages.empty()) return any || call.error == EAGAIN;
      if (!any && (call.error != 0 || call.result != messages.front().id)) return false;
      if (call.operation == Operation::kLook) return true;
      taken.push_back(messages.front());
      messages.erase(messages.begin());
      admit();
      return true;
    }
    case Operation::kWaitReceive:
      if (!messages.empty()) return any || call.error == EAGAIN;
      if (!any && call.error != 0) return false;
      waiters.push_back({call.key, call.fiber, call.rank, false, false, false, {}});
      return true;
    case Operation::kWaitSend:
      if (!full()) return any || call.error == EAGAIN;
      if (!any && call.error != 0) return false;
      waiters.push_back({call.key, call.fiber, call.rank, true, false, false, {call.priority, 0, call.id}});
      return true;
    case Operation::kWaitPlace:
      if (!full()) return any || call.error == EAGAIN;
      if (!any && call.error != 0) return false;
      waiters.push_back({call.key, call.fiber, call.rank, true, true, false, {}});
      return true;
    case Operation::kCancel:
      if (waiter == waiters.end()) return any;
      if (!any && waiter->served != (call.result == 1)) return false;
      if (!waiter->served) waiters.erase(waiter);
      return true;
    case Operation::kFinish:
      if (waiter == waiters.end() || !waiter->served) return any;
      if (!any && !waiter->sends && call.result != waiter->message.id) return false;
      if (!waiter->sends) taken.push_back(waiter->message);
      waiters.erase(waiter);
      return true;
    case Operation::kGiveBack: {
      const auto message =
          std::find_if(taken.begin(), taken.end(), [&](const Message& one) { return one.id == call.id; });
      if (message == taken.end()) return any;
      deliver(*message);
      taken.erase(message);
      return any || call.error == 0;
    }
    case Operation::kReserve:
      if (full()) return any || call.error == EAGAIN;
      ++reserved;
      return any || call.error == 0;
    case Operation::kSendReserved:
      --reserved;
      deliver({call.priority, ++clock, call.id});
      admit();
      return any || call.error == 0;
    case Operation::kDropReserved:
      --reserved;
      admit();
      return any || call.error == 0;
    case Operation::kBury: {
      std::vector<Message> back;
      for (auto one = waiters.begin(); one != waiters.end();) {
        if (one->fiber != call.fiber) {
          ++one;
          continue;
        }
        if (one->served && !one->sends) back.push_back(one->message);
        one = waiters.erase(one);
      }
      for (const Message& message : back) deliver(message);
      return true;
    }
  }
  return false;
}

namespace {

bool search(const Specification& at, const std::vector<Call>& calls, uint64_t left) {
  if (left == 0) return true;
  // The next one began before any of those left had ended.
  uint64_t first_end = UINT64_MAX;
  bool all_open = true;
  for (size_t index = 0; index < calls.size(); ++index) {
    if ((left >> index & 1) == 0 || calls[index].ended == 0) continue;
    all_open = false;
    first_end = std::min(first_end, calls[index].ended);
  }
  if (all_open) return true;  // these may never have happened
  for (size_t index = 0; index < calls.size(); ++index) {
    if ((left >> index & 1) == 0 || calls[index].began > first_end) continue;
    Specification next = at;
    if (next.happens(calls[index]) && search(next, calls, left & ~(uint64_t{1} << index))) return true;
  }
  return false;
}

}  // namespace

bool linearizable(const Specification& start, const std::vector<Call>& calls) {
  return search(start, calls, (uint64_t{1} << calls.size()) - 1);
}

std::string Call::text() const {
  static constexpr const char* kNames[] = {"send", "receive", "look",    "wait_to_receive", "wait_to_send", "wait_for_place", "cancel",
                                           "finish", "give_back", "reserve", "send_reserved", "drop_reserved", "bury"};
  return std::to_string(began) + "-" + (ended == 0 ? "?" : std::to_string(ended)) + " fiber " + std::to_string(fiber) +
         " " + kNames[static_cast<int>(operation)] + " priority " + std::to_string(priority) + " id " +
         std::to_string(id) + " wait " + std::to_string(key) + " rank " + std::to_string(rank) + " -> " +
         (error != 0 ? "errno " + std::to_string(error) : std::to_string(result));
}

std::string text_of(const std::vector<Call>& calls) {
  std::string text;
  for (const Call& call : calls) text += call.text() + "\n";
  return text;
}

}  // namespace mqueuefs::testing
