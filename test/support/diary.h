// What processes did, in the order in which they did it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "support/expect.h"
#include "support/wait.h"

namespace mqueuefs::test {

/// Made before the processes fork; each of them may note, the maker reads.
class Diary {
 public:
  Diary() { EXPECT_OK(pipe2(ends_, O_CLOEXEC | O_NONBLOCK)); }
  Diary(const Diary&) = delete;
  Diary& operator=(const Diary&) = delete;
  ~Diary() {
    close(ends_[0]);
    close(ends_[1]);
  }
  void note(const std::string& text) {
    EXPECT_EQ(static_cast<ssize_t>(text.size()), write(ends_[1], text.data(), text.size()));
  }
  std::string all() {
    char buffer[1000];
    const ssize_t n = read(ends_[0], buffer, sizeof buffer);
    if (n > 0) text_.append(buffer, static_cast<size_t>(n));
    return text_;
  }
  bool wait_for(const std::string& text) {
    return wait_until([&] { return all() == text; });
  }

 private:
  int ends_[2];
  std::string text_;
};

}  // namespace mqueuefs::test
