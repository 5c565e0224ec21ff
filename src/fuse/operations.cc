// The table of the operations, and those that are refused.
#include "fuse/operations.h"

#include <cerrno>

namespace mqueuefs::fuse {

// What Linux's mqueue has no inode operation for: the VFS answers EPERM after its own checks (EEXIST, EACCES,
// EXDEV, ENOTDIR ...), which it makes for us too before it asks (doc/behaviour.md A5, A6).
void refuse_symlink(fuse_req_t request, const char*, fuse_ino_t, const char*) {
  fuse_reply_err(request, EPERM);
}
void refuse_mkdir(fuse_req_t request, fuse_ino_t, const char*, mode_t) {
  fuse_reply_err(request, EPERM);
}
void refuse_rmdir(fuse_req_t request, fuse_ino_t, const char*) {
  fuse_reply_err(request, EPERM);
}
void refuse_link(fuse_req_t request, fuse_ino_t, fuse_ino_t, const char*) {
  fuse_reply_err(request, EPERM);
}
void refuse_rename(fuse_req_t request, fuse_ino_t, const char*, fuse_ino_t, const char*, unsigned) {
  fuse_reply_err(request, EPERM);
}

namespace {

// What mqueue has no file operation for (doc/behaviour.md B5): see ksys_write and vfs_fsync_range.
void refuse_write(fuse_req_t request, fuse_ino_t, const char*, size_t, off_t, fuse_file_info*) {
  fuse_reply_err(request, EINVAL);
}
void refuse_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  fuse_reply_err(request, EINVAL);
}

}  // namespace

// What is missing here is answered ENOSYS, on purpose. The kernel remembers it and answers these itself from
// then on, without asking, and each in the way that Linux's mqueue would:
//   setxattr getxattr removexattr   EOPNOTSUPP (doc/behaviour.md A11). Reading a POSIX ACL says ENODATA; EOPNOTSUPP for that,
//                                   too, would take an answer each time, and `ls -l` asks it of every file
//   fallocate tmpfile               EOPNOTSUPP (doc/behaviour.md A6, B5)
//   lseek (SEEK_DATA, SEEK_HOLE)    the generic ones by st_size, as default_llseek has them
//   copy_file_range                 the generic one by splice
//   fsyncdir                        0, mqueue's noop_fsync
//   getlk setlk flock               local to this kernel, as with any local file system
//   access                          never asked: default_permissions
//   bmap                            FIBMAP says block 0 instead of EINVAL; only CAP_SYS_RAWIO may ask
//   statx                           the kernel takes GETATTR
const fuse_lowlevel_ops kOperations = {
    .init = on_init,
    .lookup = on_lookup,  // ENOENT ENAMETOOLONG
    .forget = on_forget,
    .getattr = on_getattr,      // ESTALE
    .setattr = on_setattr,      // ESTALE EFBIG
    .mknod = on_mknod,          // EPERM: other than a regular file; else as create
    .mkdir = refuse_mkdir,      // EPERM
    .unlink = on_unlink,        // ENOENT ENAMETOOLONG
    .rmdir = refuse_rmdir,      // EPERM; never asked: there is no directory, so the VFS says ENOTDIR
    .symlink = refuse_symlink,  // EPERM
    .rename = refuse_rename,    // EPERM
    .link = refuse_link,        // EPERM
    .open = on_open,            // EINVAL: O_DIRECT; ESTALE
    .read = on_read,
    .write = refuse_write,  // EINVAL; the kernel itself lets a write of 0 bytes succeed
    .flush = on_flush,
    .release = on_release,
    .fsync = refuse_fsync,  // EINVAL
    .opendir = on_opendir,
    .readdir = on_readdir,
    .statfs = on_statfs,
    .listxattr = on_listxattr,  // empty, not ENOSYS: llistxattr(2) of a queue is 0
    .create = on_create,        // Superblock::create; ESTALE: it exists, look again
    .ioctl = on_ioctl,          // ENOTTY: not one of control/queue_ioctl.h
    .poll = on_poll,
    .forget_multi = on_forget_multi,
    .readdirplus = on_readdirplus,
};

}  // namespace mqueuefs::fuse
