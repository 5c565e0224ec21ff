// The man page is the format's document: its tables and its example are compared with the code and a real segment.

#include <array>
#include <bit>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "segment_test_support.h"

namespace mqueuefs::testing {
namespace {

/// The lines of the page between `.SH TITLE` or `.SS TITLE` and the next such line.
std::vector<std::string> section(const std::string& title) {
  std::ifstream page(MQUEUEFS_SOURCE_DIR "/man/mqueuefs-segment.5");
  EXPECT_TRUE(page.is_open());
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with(".SH ") || line.starts_with(".SS ")) {
      inside = line.substr(4) == title;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  return lines;
}

using Table = std::map<std::string, std::pair<size_t, size_t>>;  // name -> offset, bytes

/// The rows "offset bytes name meaning" of a section.
Table table_of(const std::string& title) {
  Table table;
  for (const std::string& line : section(title)) {
    std::istringstream words(line);
    size_t offset = 0;
    size_t bytes = 0;
    std::string name;
    if (words >> offset >> bytes >> name) table[name] = {offset, bytes};
  }
  return table;
}

/// The rows "number name meaning" of a section.
std::map<std::string, size_t> numbers_of(const std::string& title) {
  std::map<std::string, size_t> numbers;
  for (const std::string& line : section(title)) {
    std::istringstream words(line);
    size_t number = 0;
    std::string name;
    if (words >> number >> name && !name.empty() && isalpha(name[0]) != 0) numbers[name] = number;
  }
  return numbers;
}

#define ROW(type, name)                        \
  {                                            \
#name, {                                   \
      offsetof(type, name), sizeof(type::name) \
    }                                          \
  }

TEST(SegmentManPage, ListsEveryStructure) {
  const Table header{
      ROW(Header, magic),        ROW(Header, version),      ROW(Header, maxmsg),     ROW(Header, msgsize),
      ROW(Header, slots),        ROW(Header, size),         ROW(Header, state),      ROW(Header, free_slots),
      ROW(Header, changed_s),    ROW(Header, members_used), ROW(Header, waiters_used), ROW(Header, bytes),
      ROW(Header, messages_sent), ROW(Header, reserved_places), ROW(Header, traced), ROW(Header, waited_ns),
      ROW(Header, top),          ROW(Header, middle),       ROW(Header, waits),
  };
  EXPECT_EQ(table_of("Header"), header);
  const Table member{ROW(Member, owner), ROW(Member, levels)};
  EXPECT_EQ(table_of("Members"), member);
  const Table level{ROW(Level, held), ROW(Level, taking), ROW(Level, round), ROW(Level, bytes),
                    ROW(Level, messages_sent)};
  EXPECT_EQ(table_of("Levels"), level);
  const Table waiter{ROW(Waiter, word), ROW(Waiter, owner), ROW(Waiter, role),
                     ROW(Waiter, rank), ROW(Waiter, slot),  ROW(Waiter, process),
                     ROW(Waiter, since_ns)};
  EXPECT_EQ(table_of("Waiters"), waiter);
  const Table slot{ROW(Slot, published), ROW(Slot, next),     ROW(Slot, previous), ROW(Slot, free_next),
                   ROW(Slot, size),      ROW(Slot, priority), ROW(Slot, partner), ROW(Slot, sent_s)};
  EXPECT_EQ(table_of("Slots"), slot);
}

#undef ROW

TEST(SegmentManPage, ListsTheKindsOfChange) {
  const std::map<std::string, size_t> kinds{
      {"none", size_t(Kind::kNone)},     {"first", size_t(Kind::kFirst)},   {"tail", size_t(Kind::kTail)},
      {"spill", size_t(Kind::kSpill)},   {"append", size_t(Kind::kAppend)}, {"load", size_t(Kind::kLoad)},
      {"clean", size_t(Kind::kClean)},   {"wait", size_t(Kind::kWait)},     {"hand", size_t(Kind::kHand)},
      {"cancel", size_t(Kind::kCancel)}, {"return", size_t(Kind::kReturn)}, {"take", size_t(Kind::kTake)},
      {"grant", size_t(Kind::kGrant)},   {"dead", size_t(Kind::kDead)},
  };
  EXPECT_EQ(numbers_of("Kinds"), kinds);
  const std::map<std::string, size_t> flags{
      {"receivers_wait", kReceiversWait}, {"senders_wait", kSendersWait},   {"notify", kNotify}, {"poll", kPoll},
      {"some_returned", kSomeReturned},   {"admitted", kAdmitted},
  };
  EXPECT_EQ(numbers_of("Flags"), flags);
  const std::map<std::string, size_t> waits{
      {"idle", size_t(WaiterState::kIdle)},     {"intent", size_t(WaiterState::kIntent)},
      {"waiting", size_t(WaiterState::kWaiting)}, {"asleep", size_t(WaiterState::kAsleep)},
      {"done", size_t(WaiterState::kDone)},     {"taking", size_t(WaiterState::kTaking)},
  };
  EXPECT_EQ(numbers_of("States of a waiter"), waits);
}

TEST(SegmentManPage, SaysWhereThingsAre) {
  const Format format = Format::of({2, 8});
  std::map<std::string, uint64_t> where;
  for (const std::string& line : section("LAYOUT")) {
    std::istringstream words(line);
    std::string name;
    std::string equals;
    std::string last;
    if (!(words >> name >> equals) || equals != "=") continue;
    while (words >> last) {
    }
    where[name] = std::strtoull(last.c_str(), nullptr, 10);
  }
  EXPECT_EQ(where["leaves"], format.leaves);
  EXPECT_EQ(where["lists"], format.lists);
  EXPECT_EQ(where["returned"], format.returned);
  EXPECT_EQ(where["members"], format.members);
  EXPECT_EQ(where["waiters"], format.waiters);
  EXPECT_EQ(where["slot_table"], format.slot_table);
  EXPECT_EQ(where["slots"], kSpareSlots);
}

using Words = std::array<uint32_t, 4>;

TEST(SegmentManPage, ExampleIsWhatASegmentHolds) {
  if (std::endian::native != std::endian::little) GTEST_SKIP() << "the page shows a little-endian machine";
  std::map<uint64_t, Words> shown;
  for (const std::string& line : section("EXAMPLE")) {
    unsigned long offset = 0;
    Words words{};
    if (sscanf(line.c_str(), "%6lx %8x %8x %8x %8x", &offset, &words[0], &words[1], &words[2], &words[3]) == 5) {
      shown[offset] = words;
    }
  }

  TestSegment segment({2, 8});
  const SharedQueue queue = segment.queue();
  const Seat seat{queue.join(1, 1).value(), 0};
  Aftermath after;
  for (const auto& [priority, text] : {std::pair<uint32_t, std::string_view>{1, "hi!"}, {70, "hello"}}) {
    ASSERT_TRUE(queue.try_send(seat, priority, std::as_bytes(std::span(text)), after).ok());
  }
  reinterpret_cast<Header*>(segment.base())->changed_s = 0;  // now
  auto* const slots = reinterpret_cast<Slot*>(segment.base() + Format::of({2, 8}).slot_table);
  slots[0].sent_s = slots[1].sent_s = 0;
  std::map<uint64_t, Words> held;
  for (uint64_t offset = 0; offset < segment.size(); offset += sizeof(Words)) {
    Words words{};
    memcpy(&words, segment.base() + offset, sizeof words);
    if (words != Words{}) held[offset] = words;
  }
  EXPECT_EQ(shown, held);
  if (!HasFailure()) return;
  for (const auto& [offset, words] : held) {
    printf("%06lx %08x %08x %08x %08x\n", static_cast<unsigned long>(offset), words[0], words[1], words[2], words[3]);
  }
}

}  // namespace
}  // namespace mqueuefs::testing
