// Asking whether memory can be read or written, without a crash if it can't.
//
// The kernel answers EFAULT for a bad pointer (doc/behaviour.md E12). Here the kernel is asked first, by calls that look at
// the memory and change nothing, for less than what copying through it would cost. What another thread unmaps in
// between is not caught.
#pragma once

#include <cstddef>
#include <cstring>

namespace mqueuefs::client {

/// All of `size` bytes can be read. Async-signal-safe. Does not change errno, nor the memory; size 0: true.
bool readable(const void* address, size_t size);
/// All of `size` bytes can be written.
bool writable(void* address, size_t size);

/// As writable(), but a page that was found writable before is not asked about again. For memory that the kernel
/// will write to, and so never crashes: at worst it says EFAULT when it is too late to put something back.
bool writable_when_last_seen(void* address, size_t size);

/// Copies a structure of the caller's. False: EFAULT.
template <typename T>
bool copy_in(T& copy, const T* from) {
  if (!readable(from, sizeof copy)) return false;
  memcpy(static_cast<void*>(&copy), from, sizeof copy);
  return true;
}
template <typename T>
bool copy_out(T* to, const T& value) {
  if (!writable(to, sizeof value)) return false;
  memcpy(static_cast<void*>(to), &value, sizeof value);
  return true;
}

/// The length of the string at `text`, at most `most`; -1: it can't be read that far.
ptrdiff_t readable_length(const char* text, size_t most);

}  // namespace mqueuefs::client
