// The operations of the file system, each one where the kernel's requests end and ipc/ begins.
//
// An operation answers its request exactly once and decides nothing but how a result is said in FUSE's words.
#pragma once

#include <fuse_lowlevel.h>

namespace mqueuefs::fuse {

/// Which request goes where, and why those that are missing are missing.
extern const fuse_lowlevel_ops kOperations;

// operations.cc: EPERM
void refuse_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name);
void refuse_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
void refuse_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name);
void refuse_link(fuse_req_t request, fuse_ino_t inode, fuse_ino_t parent, const char* name);
void refuse_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                   const char* new_name, unsigned flags);

// connection (session.cc)
void on_init(void* session, fuse_conn_info* connection);

// directory_operations.cc
void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info);
void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name);
void on_opendir(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t position, fuse_file_info* info);
void on_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t position, fuse_file_info* info);

// inode_operations.cc
void on_forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups);
void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets);
void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int which, fuse_file_info* info);
void on_statfs(fuse_req_t request, fuse_ino_t inode);
void on_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size);

// file_operations.cc
void on_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info);
void on_flush(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void on_release(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info);
void on_poll(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info, fuse_pollhandle* handle);
void on_ioctl(fuse_req_t request, fuse_ino_t inode, unsigned command, void* address, fuse_file_info* info,
              unsigned flags, const void* argument, size_t argument_bytes, size_t answer_bytes);

}  // namespace mqueuefs::fuse
