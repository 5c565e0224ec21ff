// How a function says that it failed: a value or an errno, never an exception.
//
// Two kinds of failure travel this way (src/README.md, "Errors"): outcomes that POSIX documents (EAGAIN,
// EEXIST, ...), which the function's doc comment lists, and failures of the environment, handed up unchanged
// together with the step that failed. Bugs of our own abort (check.h); they are not results.
#pragma once

#include <cerrno>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace mqueuefs {

/// Why something failed: an errno, and where it helps the reader of a log the step that failed.
struct Error {
  int code = 0;                ///< an errno value, never 0
  const char* step = nullptr;  ///< a string literal such as "memfd_create", or null
};

/// The error of the system call that just failed. Reads errno, so it has to come right after the call.
inline Error last_error(const char* step) { return Error{errno, step}; }

/// Either a `T` or an `Error`.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : ok_(true), value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error) : ok_(false), error_(error) {}        // NOLINT(google-explicit-constructor)
  Result(Result&& other) noexcept : ok_(other.ok_) { take(other); }
  Result& operator=(Result&& other) noexcept {
    if (this == &other) return *this;
    if (ok_) value_.~T();
    ok_ = other.ok_;
    take(other);
    return *this;
  }
  ~Result() {
    if (ok_) value_.~T();
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }

  T& value() {
    MQUEUEFS_CHECK(ok_);
    return value_;
  }
  const T& value() const {
    MQUEUEFS_CHECK(ok_);
    return value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error error() const {
    MQUEUEFS_CHECK(!ok_);
    return error_;
  }
  /// The errno, or 0 if there is a value.
  int code() const { return ok_ ? 0 : error_.code; }

 private:
  void take(Result& other) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      // All bytes: g++ 12 makes one copy of the two below, and leaves out what is padding in an Error.
      memcpy(bytes_, other.bytes_, sizeof bytes_);
    } else if (ok_) {
      new (&value_) T(std::move(other.value_));
    } else {
      error_ = other.error_;
    }
  }

  bool ok_;
  union {
    T value_;
    Error error_;
    unsigned char bytes_[sizeof(T) > sizeof(Error) ? sizeof(T) : sizeof(Error)];
  };
};

/// Success or an `Error`.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(error) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return error_.code == 0; }
  explicit operator bool() const { return ok(); }
  Error error() const {
    MQUEUEFS_CHECK(!ok());
    return error_;
  }
  int code() const { return error_.code; }

 private:
  Error error_;
};

using Status = Result<void>;

}  // namespace mqueuefs
