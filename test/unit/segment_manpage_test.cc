// The man page is the format's document: its tables and its example are compared with the code and a real
// segment.

#include <array>
#include <bit>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

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

#define ROW(type, name)                        \
  {                                            \
#name, {                                   \
      offsetof(type, name), sizeof(type::name) \
    }                                          \
  }

TEST(SegmentManPage, ListsTheHeader) {
  const Table expected{
      ROW(Header, magic),          ROW(Header, version),        ROW(Header, maxmsg),
      ROW(Header, msgsize),        ROW(Header, slots),          ROW(Header, priorities),
      ROW(Header, payload_stride), ROW(Header, leaf_offset),    ROW(Header, priority_offset),
      ROW(Header, slot_offset),    ROW(Header, payload_offset), ROW(Header, size),
      ROW(Header, dead),           ROW(Header, messages),       ROW(Header, last_sequence),
      ROW(Header, free_slot),      ROW(Header, used_slots),     ROW(Header, index_top),
      ROW(Header, payload_bytes),  ROW(Header, index_middle),
  };
  EXPECT_EQ(table_of("Header"), expected);
}

TEST(SegmentManPage, ListsTheCells) {
  const Table priority_cell{ROW(PriorityCell, head), ROW(PriorityCell, tail)};
  EXPECT_EQ(table_of("Priority cells"), priority_cell);
  const Table slot_cell{ROW(SlotCell, sequence), ROW(SlotCell, next), ROW(SlotCell, size),
                        ROW(SlotCell, priority), ROW(SlotCell, state)};
  EXPECT_EQ(table_of("Slot cells"), slot_cell);
}

#undef ROW

using Words = std::array<uint32_t, 4>;

TEST(SegmentManPage, ExampleIsWhatASegmentHolds) {
  if (std::endian::native != std::endian::little) GTEST_SKIP() << "the page shows a little-endian machine";
  std::map<uint64_t, Words> shown;
  for (const std::string& line : section("EXAMPLE")) {
    unsigned long offset = 0;
    Words words{};
    if (sscanf(line.c_str(), "%6lx %8x %8x %8x %8x", &offset, &words[0], &words[1], &words[2], &words[3]) ==
        5) {
      shown[offset] = words;
    }
  }

  QueueSegment queue = make_queue(2, 8);
  ASSERT_TRUE(send(queue, 1, "hi!"));
  ASSERT_TRUE(send(queue, 70, "hello"));
  const Intruder intruder(queue);
  std::map<uint64_t, Words> held;
  for (uint64_t offset = 0; offset < intruder.layout().size; offset += sizeof(Words)) {
    Words words{};
    memcpy(&words, intruder.base() + offset, sizeof words);
    if (words != Words{}) held[offset] = words;
  }
  EXPECT_EQ(shown, held);
  EXPECT_EQ(shown.size(), 19u);
}

}  // namespace
}  // namespace mqueuefs::testing
