// mount(2), umount2(2) and the newer fsopen(2), fsconfig(2), fsmount(2) for a program that takes the kernel's message queues for granted.
#pragma once

namespace mqueuefs::client {

/// mount(2). A new mount of the type "mqueue" shows the calling thread's own IPC namespace of mqueuefs; all else,
/// changes of existing mounts included, is the kernel's.
int mount_call(const char* source, const char* target, const char* type, unsigned long flags, const void* data);

/// fsopen(2). The context of a type "mqueue" is the kernel's, which checks its parameters and gives its messages. ENOSYS
/// where the kernel has no mqueue, so that callers fall back to mount(2).
int fsopen_call(const char* type, unsigned flags);

/// fsconfig(2), which is the kernel's; a source is noted for the context's mount.
int fsconfig_call(int context, unsigned command, const char* key, const void* value, int auxiliary);

/// fsmount(2). If the kernel's answer is a mount of its mqueue, whatever process opened the context, the descriptor is
/// one of a detached mount of the calling thread's own IPC namespace of mqueuefs instead.
int fsmount_call(int context, unsigned flags, unsigned attributes);

/// umount2(2). Where the kernel does not let an ordinary user, the helper that mounted for him may: a FUSE mount is
/// then taken away with fusermount3.
int umount_call(const char* target, int flags);

}  // namespace mqueuefs::client
