#include "cli/encoding.h"

#include <cstdint>
#include <cstdio>

namespace mqueuefs::cli {
namespace {

// Length of the well-formed UTF-8 sequence at the front of `bytes`; 0: there is none. Unicode, table 3-7.
size_t sequence_length(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first <= 0xDF ? 2 : (first & 0xF0) == 0xE0 ? 3 : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
  if (length == 0 || bytes.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  const uint8_t second = at(1);
  if (first == 0xE0 && second < 0xA0) return 0;  // overlong
  if (first == 0xED && second > 0x9F) return 0;  // surrogates
  if (first == 0xF0 && second < 0x90) return 0;  // overlong
  if (first == 0xF4 && second > 0x8F) return 0;  // over U+10FFFF
  return length;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = sequence_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < count ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += k <= count ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::string printable(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const char c = bytes.front();
    const size_t length = sequence_length(bytes);
    // C1 control characters, U+0080 to U+009F, move terminals too.
    const bool is_c1 = length == 2 && c == '\xC2' && static_cast<uint8_t>(bytes[1]) < 0xA0;
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (length == 0 || is_c1 || (length == 1 && (static_cast<uint8_t>(c) < 0x20 || c == 0x7F))) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\x%02x", static_cast<uint8_t>(c));
      text += escape;
      if (is_c1) {
        snprintf(escape, sizeof escape, "\\x%02x", static_cast<uint8_t>(bytes[1]));
        text += escape;
      }
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<size_t>(length, 1));
  }
  return text;
}

void add_text(Json& object, const char* key, const char* binary_key, std::string_view bytes) {
  if (is_utf8(bytes)) {
    object[key] = std::string(bytes);
  } else {
    object[binary_key] = base64(bytes);
  }
}

Json message_json(std::span<const std::byte> message, unsigned priority) {
  Json object;
  object["priority"] = priority;
  object["size"] = message.size();
  add_text(object, "text", "data", as_text(message));
  return object;
}

}  // namespace mqueuefs::cli
