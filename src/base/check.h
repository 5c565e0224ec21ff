// Assertions about our own code. They are on in every build and abort.
//
// Never for what another process can influence: shared memory, sockets, FUSE bytes are input (see result.h).
#pragma once

namespace mqueuefs::internal {

/// Writes one line to stderr and aborts. Async-signal-safe.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace mqueuefs::internal

#define MQUEUEFS_CHECK(condition) \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0) \
       : ::mqueuefs::internal::check_failed(#condition, __FILE__, __LINE__))
