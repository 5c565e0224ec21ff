// Memory that was found good before: what user_memory.h asks the kernel, remembered.
//
// A send in mapped memory takes less time than one question to the kernel, so a page is asked about once. It is forgotten
// with all others when the program unmaps or protects memory, of which the interposed munmap(2) and its kin tell. What
// goes away otherwise (by a raw system call) makes a crash of what the kernel answers with EFAULT: mqueuefs(5).
#pragma once

#include <cstddef>

#include "base/hot.h"

namespace mqueuefs::client {

/// As readable() and writable(). Async-signal-safe. Inlined: for what is in one translation unit with them.
MQUEUEFS_HOT bool known_readable(const void* address, size_t size);
MQUEUEFS_HOT bool known_writable(void* address, size_t size);

/// What was found out is true no longer: said after it is so.
void forget_known_memory();

}  // namespace mqueuefs::client
