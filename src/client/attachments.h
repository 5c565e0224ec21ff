// What this process has attached: where, how long, and what the daemon calls it.
//
// The table is looked at by shmdt(2) and by who unmaps memory. A forked child has a copy, as it has the mappings, and
// says so to the daemon before its fork(2) returns; its parent's does not return before that, so that nobody sees the
// segment with one attachment too few. (A child of the bare system call does not: see mqueuefs(5).)
//
// Thread rule: any. No locks: an entry is one thread's from when it took the address out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace mqueuefs::client {

struct Attachment {
  uintptr_t address = 0;
  size_t size_bytes = 0;
  int64_t name = 0;  ///< the daemon's
};

/// False: no memory for it.
bool add_attachment(const Attachment& attachment);
/// The one that begins at `address`, which is in the table no longer.
std::optional<Attachment> take_attachment(uintptr_t address);
/// One that lies within the range as a whole, and is in the table no longer.
std::optional<Attachment> take_attachment_within(uintptr_t address, size_t size_bytes);
bool has_attachments();

/// The program is about to unmap memory: what is attached there as a whole is detached.
void memory_unmaps(void* address, size_t size_bytes);

}  // namespace mqueuefs::client
