// See floor_fs.h. Inode numbers: 1 the root, 2 the file that exists, 3 whatever was created, 100... the listed.
#include "floor_fs.h"

#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace mqueuefs::bench {
namespace {

constexpr double kForever = 86400;
constexpr fuse_ino_t kKnown = 2;
constexpr fuse_ino_t kCreated = 3;
constexpr fuse_ino_t kListed = 100;

int listed_entries = 0;

struct stat attributes(fuse_ino_t inode) {
  struct stat result{};
  result.st_ino = inode;
  const bool root = inode == FUSE_ROOT_ID;
  result.st_mode = root ? (S_IFDIR | 01777) : (S_IFREG | 0644);
  result.st_nlink = root ? 2 : 1;
  result.st_size = root ? 40 : 80;
  result.st_blksize = 4096;
  return result;
}

fuse_entry_param entry(fuse_ino_t inode) {
  fuse_entry_param result{};
  result.ino = inode;  // 0: it is known not to exist
  if (inode != 0) result.attr = attributes(inode);
  result.attr_timeout = kForever;
  result.entry_timeout = kForever;
  return result;
}

// All of a directory's attributes with its names, always: by default the kernel asks so for the first few only.
void init(void*, fuse_conn_info* connection) {
  connection->want |= connection->capable & FUSE_CAP_READDIRPLUS;
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
}

void lookup(fuse_req_t request, fuse_ino_t, const char* name) {
  fuse_ino_t inode = 0;
  if (name[0] == 'k') inode = kKnown;
  if (name[0] == 'l') inode = kListed + static_cast<fuse_ino_t>(atoi(name + 1));
  const fuse_entry_param found = entry(inode);
  fuse_reply_entry(request, &found);
}

void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  const struct stat found = attributes(inode);
  fuse_reply_attr(request, &found, kForever);
}

void create(fuse_req_t request, fuse_ino_t, const char*, mode_t, fuse_file_info* info) {
  const fuse_entry_param made = entry(kCreated);
  info->direct_io = 1;
  fuse_reply_create(request, &made, info);
}

void open(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  info->direct_io = 1;
  fuse_reply_open(request, info);
}

void unlink(fuse_req_t request, fuse_ino_t, const char*) { fuse_reply_err(request, 0); }
void flush(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }
void release(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }
void getxattr(fuse_req_t request, fuse_ino_t, const char*, size_t) { fuse_reply_err(request, ENOSYS); }

void opendir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  info->cache_readdir = 1;
  info->keep_cache = 1;
  fuse_reply_open(request, info);
}

void list(fuse_req_t request, size_t size, off_t offset, bool with_attributes) {
  std::vector<char> reply(size);
  size_t used = 0;
  for (off_t index = offset; index < listed_entries; ++index) {
    char name[16];
    snprintf(name, sizeof name, "l%d", static_cast<int>(index));
    const fuse_entry_param found = entry(kListed + static_cast<fuse_ino_t>(index));
    char* place = reply.data() + used;
    const size_t length =
        with_attributes ? fuse_add_direntry_plus(request, place, size - used, name, &found, index + 1)
                        : fuse_add_direntry(request, place, size - used, name, &found.attr, index + 1);
    if (length > size - used) break;
    used += length;
  }
  fuse_reply_buf(request, reply.data(), used);
}

void readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  list(request, size, offset, false);
}

void readdirplus(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  list(request, size, offset, true);
}

// Answers with as many bytes as were asked for: what a receive of that size would carry.
void ioctl(fuse_req_t request, fuse_ino_t, unsigned, void*, fuse_file_info*, unsigned, const void*,
           size_t, size_t out_size) {
  static const std::vector<char> zeros(16384);
  fuse_reply_ioctl(request, 0, zeros.data(), out_size);
}

}  // namespace

int serve_floor(const std::string& dir, int entries, int ready_fd) {
  listed_entries = entries;
  fuse_lowlevel_ops operations{};
  operations.init = init;
  operations.lookup = lookup;
  operations.getattr = getattr;
  operations.create = create;
  operations.open = open;
  operations.unlink = unlink;
  operations.flush = flush;
  operations.release = release;
  operations.getxattr = getxattr;
  operations.opendir = opendir;
  operations.readdir = readdir;
  operations.readdirplus = readdirplus;
  operations.ioctl = ioctl;

  const char* arguments[] = {"floor", "-o", "allow_other,default_permissions,fsname=floor"};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(arguments));
  fuse_session* session = fuse_session_new(&args, &operations, sizeof operations, nullptr);
  if (session == nullptr) return 1;
  if (fuse_session_mount(session, dir.c_str()) != 0) return 1;
  close(ready_fd);
  const int code = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return code == 0 ? 0 : 1;
}

}  // namespace mqueuefs::bench
