#include "cli/encoding.h"

#include <gtest/gtest.h>

#include "cli/output.h"

namespace mqueuefs::cli {
namespace {

using namespace std::string_literals;

TEST(Utf8, AcceptsWhatIsWellFormed) {
  for (const auto& text : {""s, "plain"s, "\0"s, "g\xC3\xBC"s, "\xE2\x82\xAC"s, "\xF0\x9F\x98\x80"s, "\xF4\x8F\xBF\xBF"s}) {
    EXPECT_TRUE(is_utf8(text));
  }
}

TEST(Utf8, RefusesWhatIsNot) {
  for (const auto& text : {"\x80"s, "\xC3"s, "\xC0\xAF"s, "\xE0\x80\xAF"s, "\xED\xA0\x80"s, "\xF0\x80\x80\xAF"s,
                           "\xF4\x90\x80\x80"s, "\xF8\x88\x80\x80\x80"s, "a\xFF"s}) {
    EXPECT_FALSE(is_utf8(text));
  }
}

// RFC 4648, section 10.
TEST(Base64, TestVectors) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xFF\xFE\x00"s), "//4A");
}

TEST(Printable, KeepsOneLineAndTheTerminal) {
  EXPECT_EQ(printable("plain \xC3\xBC"), "plain \xC3\xBC");
  EXPECT_EQ(printable("a\nb\tc\\d"), "a\\nb\\tc\\\\d");
  EXPECT_EQ(printable("\x1B[31m\0\x7F\xFF"s), "\\x1b[31m\\x00\\x7f\\xff");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b") << "a C1 control";
}

TEST(MessageJson, TextOrBase64) {
  const auto json = [](const std::string& text) {
    return message_json(std::as_bytes(std::span(text.data(), text.size())), 3).dump();
  };
  EXPECT_EQ(json("hi \"you\"\n"), R"({"priority":3,"size":9,"text":"hi \"you\"\n"})");
  EXPECT_EQ(json("\xFF"), R"({"priority":3,"size":1,"data":"/w=="})");
  EXPECT_EQ(json(""), R"({"priority":3,"size":0,"text":""})");
}

TEST(TableText, AlignsColumnsByCharacters) {
  Table table{{"NAME", Table::Align::kLeft}, {"N", Table::Align::kRight}, {"LAST", Table::Align::kLeft}};
  table.add({"/\xC3\xBC", "100", "x"});
  table.add({"/longer", "1", ""});
  EXPECT_EQ(table.text(),
            "NAME       N  LAST\n"
            "/\xC3\xBC       100  x\n"
            "/longer    1\n");
}

}  // namespace
}  // namespace mqueuefs::cli
