// What is asked about an inode, open or not: its attributes, and when it is forgotten.
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "base/clock.h"
#include "fuse/fuse_session.h"
#include "fuse/operations.h"

namespace mqueuefs::fuse {
namespace {

/// How far truncate(2) can make a queue grow: mqueue leaves s_maxbytes at MAX_NON_LFS.
constexpr int64_t kMaxFileSize = INT32_MAX;

/// What `which` (FUSE_SET_ATTR_...) says of `wanted`. `open_file`: asked for through an open file.
ipc::AttributeChange change_of(const struct stat& wanted, int which, bool open_file) {
  ipc::AttributeChange change;
  const int64_t now_s = file_time_now_s();
  if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode;
  if ((which & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
  if ((which & FUSE_SET_ATTR_ATIME) != 0) change.atime_s = wanted.st_atim.tv_sec;
  if ((which & FUSE_SET_ATTR_MTIME) != 0) change.mtime_s = wanted.st_mtim.tv_sec;
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) change.atime_s = now_s;
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) change.mtime_s = now_s;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    change.size = wanted.st_size;
    // The kernel's do_truncate: ftruncate(2) moves mtime and ctime, truncate(2) nothing.
    if (open_file && !change.mtime_s) change.mtime_s = now_s;
  }
  return change;
}

}  // namespace

void on_forget(fuse_req_t request, fuse_ino_t inode, uint64_t lookups) {
  FuseSession::of(request).nodes().forget(inode, lookups);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  NodeTable& nodes = FuseSession::of(request).nodes();
  for (size_t i = 0; i < count; ++i)
    nodes.forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  FuseSession& session = FuseSession::of(request);
  ++session.count().getattrs;
  if (inode == ipc::kRootInode) {
    const struct stat attributes = session.root_attributes();
    fuse_reply_attr(request, &attributes, session.timeout_s());
    return;
  }
  Node* node = session.nodes().find(inode);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  const struct stat attributes = session.attributes_of(*node);
  fuse_reply_attr(request, &attributes, session.attributes_timeout_s(*node));
}

void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat* wanted, int which, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  const ipc::AttributeChange change = change_of(*wanted, which, info != nullptr);
  if (inode == ipc::kRootInode) {
    session.superblock()->set_root_attributes(change);
    const struct stat attributes = session.root_attributes();
    fuse_reply_attr(request, &attributes, session.timeout_s());
    return;
  }
  Node* node = session.nodes().find(inode);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  if (change.size && *change.size > kMaxFileSize && *change.size > node->queue->file_size()) {
    fuse_reply_err(request, EFBIG);
    return;
  }
  node->attributes_cached = false;  // the answer says what they are now: no need to say that they changed
  node->queue->set_attributes(change);
  const struct stat attributes = session.attributes_of(*node);
  fuse_reply_attr(request, &attributes, session.attributes_timeout_s(*node));
}

void on_statfs(fuse_req_t request, fuse_ino_t) {
  struct statvfs answer {};  // fs/libfs.c:simple_statfs, doc/behaviour.md A2; f_type is FUSE's
  answer.f_bsize = 4096;
  answer.f_frsize = 4096;
  answer.f_namemax = ipc::kMaxNameBytes;
  fuse_reply_statfs(request, &answer);
}

void on_listxattr(fuse_req_t request, fuse_ino_t, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, 0);
  } else {
    fuse_reply_buf(request, nullptr, 0);
  }
}

}  // namespace mqueuefs::fuse
