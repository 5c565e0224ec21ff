// Assertions on system calls: what errno, in words.
#pragma once

#include <gtest/gtest.h>
#include <string.h>

#include <cerrno>
#include <type_traits>

namespace mqueuefs::test {

inline const char* errno_name(int code) {
  const char* name = code == 0 ? "success" : strerrorname_np(code);
  return name != nullptr ? name : "an unknown errno";
}

// A call's value (-1: it failed) or a pointer (MAP_FAILED, which is -1 too).
template <typename T>
bool is_failure(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return value == reinterpret_cast<T>(-1);
  } else {
    return value == static_cast<T>(-1);
  }
}

/// Reads errno: `value` must be the call itself.
template <typename T>
::testing::AssertionResult fails_with(int expected, T value) {
  const int code = is_failure(value) ? errno : 0;
  if (code == expected) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "expected " << errno_name(expected) << ", got " << errno_name(code);
}

template <typename T>
::testing::AssertionResult succeeds(T value) {
  if (!is_failure(value)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << errno_name(errno);
}

}  // namespace mqueuefs::test

/// The call returns -1 with this errno.
#define EXPECT_ERRNO(code, call) EXPECT_TRUE(::mqueuefs::test::fails_with(code, call))
#define ASSERT_ERRNO(code, call) ASSERT_TRUE(::mqueuefs::test::fails_with(code, call))
/// The call returns anything but -1.
#define EXPECT_OK(call) EXPECT_TRUE(::mqueuefs::test::succeeds(call))
#define ASSERT_OK(call) ASSERT_TRUE(::mqueuefs::test::succeeds(call))
