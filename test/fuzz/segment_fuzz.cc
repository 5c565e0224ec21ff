// libFuzzer: writes into the image of a segment, and operations on it, in turn.
//   segment-fuzz -max_len=512 [-max_total_time=SECONDS] [CORPUS]

#include <cstdlib>

#include "hostile_segment.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mqueuefs::testing::HostileSegment;
  static auto* const segment = new HostileSegment({8, 64});
  segment->restore();
  while (size >= 8) {
    uint16_t what = 0;
    uint16_t where = 0;
    uint32_t value = 0;
    memcpy(&what, data, 2);
    memcpy(&where, data + 2, 2);
    memcpy(&value, data + 4, 4);
    data += 8;
    size -= 8;
    std::byte* const word = segment->base() + segment->interesting(where);
    uint32_t before = 0;
    memcpy(&before, word, 4);
    switch (what % 4) {
      case 0:
        memcpy(word, &value, 4);
        break;
      case 1:
        before ^= uint32_t{1} << (value % 32);
        memcpy(word, &before, 4);
        break;
      case 2:  // what is somewhere else
        memcpy(word, segment->base() + segment->interesting(value), 4);
        break;
      default:
        break;
    }
    segment->operate(value ^ what);
  }
  return 0;
}
