// Random operations on a segment and on a sorted map: the same answers, and every invariant after each step.

#include <iterator>
#include <map>
#include <random>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

struct Case {
  uint32_t seed;
  uint32_t maxmsg;
  uint32_t msgsize;
  uint32_t priorities;  // how many are in use
};

class SegmentModel : public ::testing::TestWithParam<Case> {
 protected:
  // Sorted in order of receipt: higher priority first, then lower sequence.
  using Key = std::pair<uint32_t, uint64_t>;
  static Key key_of(const MessageInfo& info) { return {kPriorities - info.priority, info.sequence}; }

  uint32_t below(uint32_t bound) { return std::uniform_int_distribution<uint32_t>(0, bound - 1)(random_); }
  uint32_t some_priority() { return below(GetParam().priorities) * (kPriorities / GetParam().priorities); }
  std::string some_text() {
    std::string text(below(GetParam().msgsize + 1), '\0');
    for (char& byte : text)
      byte = static_cast<char>(random_());
    return text;
  }

  void send_one() {
    const std::string text = some_text();
    const Result<MessageInfo> info = send(queue_, some_priority(), text);
    if (model_.size() >= GetParam().maxmsg) {
      ASSERT_EQ(info.code(), EAGAIN);
    } else {
      ASSERT_TRUE(info);
      ASSERT_EQ(info->sequence, ++last_sequence_);
      model_[key_of(*info)] = text;
    }
  }

  void receive_one() {
    std::string buffer(GetParam().msgsize, '\0');
    const Result<MessageInfo> info = queue_.try_receive(std::as_writable_bytes(std::span(buffer)));
    if (model_.empty()) {
      ASSERT_EQ(info.code(), EAGAIN);
      return;
    }
    ASSERT_TRUE(info);
    ASSERT_EQ(key_of(*info), model_.begin()->first);
    ASSERT_EQ(buffer.substr(0, info->size), model_.begin()->second);
    taken_.emplace_back(*info, model_.begin()->second);
    model_.erase(model_.begin());
  }

  void put_one_back() {
    if (taken_.empty()) return;
    const auto chosen = taken_.begin() + below(static_cast<uint32_t>(taken_.size()));
    const Status status = queue_.put_back(chosen->first, bytes_of(chosen->second));
    if (model_.size() >= GetParam().maxmsg + kSpareSlots) {
      ASSERT_EQ(status.code(), EAGAIN);
      return;
    }
    ASSERT_TRUE(status);
    model_[key_of(chosen->first)] = chosen->second;
    taken_.erase(chosen);
  }

  // A walk that goes on between the other operations.
  void peek_one() {
    const auto expected = position_.priority == kPriorities
                              ? model_.begin()
                              : model_.upper_bound({kPriorities - position_.priority, position_.sequence});
    std::string buffer(GetParam().msgsize, '\0');
    const Result<MessageInfo> info = queue_.peek(position_, 0, std::as_writable_bytes(std::span(buffer)));
    if (expected == model_.end()) {
      ASSERT_EQ(info.code(), EAGAIN);
      position_ = PeekPosition{};
      return;
    }
    ASSERT_TRUE(info);
    ASSERT_EQ(key_of(*info), expected->first);
    ASSERT_EQ(buffer.substr(0, info->size), expected->second);
  }

  void check_everything() {
    const Status status = queue_.verify();
    ASSERT_TRUE(status) << status.error().step;
    ASSERT_EQ(queue_.messages(), model_.size());
    uint64_t bytes = 0;
    for (const auto& [key, text] : model_)
      bytes += text.size();
    ASSERT_EQ(queue_.payload_bytes(), bytes);
    const Result<MessageInfo> front = queue_.front();
    ASSERT_EQ(front.code(), model_.empty() ? EAGAIN : 0);
    if (front) {
      ASSERT_EQ(key_of(*front), model_.begin()->first);
    }
  }

  std::mt19937 random_{GetParam().seed};
  QueueSegment queue_ = make_queue(GetParam().maxmsg, GetParam().msgsize);
  std::map<Key, std::string> model_;
  std::vector<std::pair<MessageInfo, std::string>> taken_;
  PeekPosition position_;
  uint64_t last_sequence_ = 0;
};

TEST_P(SegmentModel, AgreesWithASortedMap) {
  uint32_t send_weight = 5;
  for (int step = 0; step < 4000 && !HasFatalFailure(); ++step) {
    if (step % 200 == 0) send_weight = 2 + below(6);  // fills for a while, drains for a while
    const uint32_t choice = below(14);
    if (choice < send_weight) {
      send_one();
    } else if (choice < 10) {
      receive_one();
    } else if (choice < 11) {
      put_one_back();
    } else if (choice < 13) {
      peek_one();
    } else if (queue_.take_sequence() != 0) {
      ++last_sequence_;
    }
    if (!HasFatalFailure()) check_everything();
    if (taken_.size() > 100) taken_.erase(taken_.begin());
    if (step % 500 == 0) {
      queue_.unmap();
      ASSERT_TRUE(queue_.map());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Queues, SegmentModel,
                         ::testing::Values(Case{1, 1, 1, 1}, Case{2, 10, 100, 1}, Case{3, 10, 8192, 3},
                                           Case{4, 60, 64, 32768}, Case{5, 100, 9000, 16},
                                           Case{6, 200, 20, 300}, Case{7, 8, 300'000, 2},
                                           Case{8, 65536, 128, 4}),
                         [](const auto& tested) { return "Seed" + std::to_string(tested.param.seed); });

}  // namespace
}  // namespace mqueuefs::testing
