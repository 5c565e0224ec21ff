// mount(2) and umount2(2) for a program that takes the kernel's message queues for granted.
#pragma once

namespace mqueuefs::client {

/// mount(2). A new mount of the type "mqueue" shows the calling thread's own IPC namespace of mqueuefs; all else,
/// changes of existing mounts included, is the kernel's.
int mount_call(const char* source, const char* target, const char* type, unsigned long flags, const void* data);

/// umount2(2). Where the kernel does not let an ordinary user, the helper that mounted for him may: a FUSE mount is
/// then taken away with fusermount3.
int umount_call(const char* target, int flags);

}  // namespace mqueuefs::client
