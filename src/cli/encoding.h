// Bytes that people and programs are to read: names and messages may be anything but are printed as text.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace mqueuefs::cli {

/// Objects keep the order in which their fields were added.
using Json = nlohmann::ordered_json;

/// Whether JSON can carry the bytes as a string. See RFC 3629: no surrogates, no overlong forms.
bool is_utf8(std::string_view bytes);

/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

/// For one line of a terminal: control characters and bytes that are not UTF-8 as \n, \t, \\ or \xNN.
std::string printable(std::string_view bytes);

/// Adds `bytes` as the string `key`, or base64 as `binary_key` if they are not UTF-8.
void add_text(Json& object, const char* key, const char* binary_key, std::string_view bytes);

/// {"priority","size","text" or "data"}: what receive and peek say of a message.
Json message_json(std::span<const std::byte> message, unsigned priority);

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mqueuefs::cli
