// What happens in the one directory: looking up, creating, unlinking, listing.
//
// Rights (search, write, sticky) are checked by the kernel before it asks (default_permissions).
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "fuse/directory_walk.h"
#include "fuse/fuse_session.h"
#include "fuse/operations.h"

namespace mqueuefs::fuse {
namespace {

// Of the thread, since an answer is sent before the next request is read.
thread_local std::vector<char> listing(kMaxTransferBytes);

/// Creates a queue for the task behind `request`, with the attributes that it `announced`.
Result<std::shared_ptr<ipc::QueueInode>> create_queue(FuseSession& session, fuse_req_t request,
                                                      const char* name, mode_t mode,
                                                      const std::optional<ipc::AnnouncedCreation>& announced) {
  const fuse_ctx* context = fuse_req_ctx(request);
  if (announced && announced->unlinked != nullptr) {
    const auto& queue = announced->unlinked->queue();
    if (const Status relinked = session.superblock()->relink(queue); !relinked) return relinked.error();
    return queue;
  }
  ipc::Creator creator{.uid = context->uid, .gid = context->gid, .task = context->pid};
  if (announced && announced->in_place_of != 0) creator.task = announced->in_place_of;
  const Status checked = session.services().check_creation(*session.superblock(), creator);
  if (!checked) return checked.error();
  const bool with_attributes = announced && announced->attributes;
  auto created = session.superblock()->create(name, mode, with_attributes ? &*announced->attributes : nullptr, creator);
  if (!created) session.services().note_refused_creation(*session.superblock(), creator, created.error());
  return created;
}

/// `add(buffer, room, name, queue, position)` appends an entry and answers how long it is, added or not.
template <typename Add>
void reply_listing(fuse_req_t request, size_t size, off_t position, Add add) {
  FuseSession& session = FuseSession::of(request);
  // The kernel forgets the root's atime itself after each READDIR that it had to send.
  session.superblock()->note_directory_read();
  const size_t room = std::min(size, listing.size());
  size_t used = 0;
  walk_directory(*session.superblock(), static_cast<uint64_t>(position),
                 [&](const char* name, ipc::QueueInode* queue, uint64_t next) {
                   const size_t bytes =
                       add(listing.data() + used, room - used, name, queue, static_cast<off_t>(next));
                   if (bytes > room - used) return false;
                   used += bytes;
                   return true;
                 });
  fuse_reply_buf(request, listing.data(), used);
}

}  // namespace

void on_lookup(fuse_req_t request, fuse_ino_t, const char* name) {
  FuseSession& session = FuseSession::of(request);
  ++session.count().lookups;
  const auto found = session.superblock()->find(name);
  if (found) {
    const fuse_entry_param entry = session.entry_for(*found);
    if (fuse_reply_entry(request, &entry) != 0) session.nodes().forget(entry.ino, 1);
  } else if (found.code() == ENOENT && session.caching()) {
    fuse_entry_param none{};  // inode 0: the kernel may remember that there is no such name
    none.entry_timeout = session.timeout_s();
    fuse_reply_entry(request, &none);
  } else {
    fuse_reply_err(request, found.code());
  }
}

void on_create(fuse_req_t request, fuse_ino_t, const char* name, mode_t mode, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  const auto announced = session.services().take_announcement(fuse_req_ctx(request)->pid, name);
  // mqueue would leave the new queue behind and fail; here the kernel would go on believing that it is
  // missing.
  if ((info->flags & O_DIRECT) != 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  const auto created = create_queue(session, request, name, mode, announced);
  if (!created) {
    // Somebody else created it since the kernel looked (through another session). To open it here would be to
    // open it unchecked: on ESTALE the kernel looks again, checks the mode and sends OPEN.
    const bool look_again = created.code() == EEXIST && (info->flags & O_EXCL) == 0;
    fuse_reply_err(request, look_again ? ESTALE : created.code());
    return;
  }
  // The kernel has made O_RDWR of access mode 3 by now, which its creator has told us beside.
  if (announced && announced->for_neither) info->flags |= O_ACCMODE;
  const Status opened = session.open(*created, *info);
  if (!opened) {
    fuse_reply_err(request, opened.code());
    return;
  }
  const fuse_entry_param entry = session.entry_for(*created);
  if (fuse_reply_create(request, &entry, info) != 0) {
    session.close(info->fh);
    session.nodes().forget(entry.ino, 1);
  }
}

void on_mknod(fuse_req_t request, fuse_ino_t, const char* name, mode_t mode, dev_t) {
  FuseSession& session = FuseSession::of(request);
  const auto announced = session.services().take_announcement(fuse_req_ctx(request)->pid, name);
  if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0) {
    fuse_reply_err(request, EPERM);  // doc/behaviour.md A5
    return;
  }
  const auto created = create_queue(session, request, name, mode, announced);
  if (!created) {
    fuse_reply_err(request, created.code());
    return;
  }
  const fuse_entry_param entry = session.entry_for(*created);
  if (fuse_reply_entry(request, &entry) != 0) session.nodes().forget(entry.ino, 1);
}

void on_unlink(fuse_req_t request, fuse_ino_t, const char* name) {
  FuseSession& session = FuseSession::of(request);
  const pid_t task = fuse_req_ctx(request)->pid;
  const Status allowed = session.services().check_unlink(task, *session.superblock(), name);
  if (!allowed) {
    fuse_reply_err(request, allowed.code());
    return;
  }
  std::shared_ptr<ipc::HeldQueue> held;
  if (session.services().is_undoable(task, name)) {
    if (const auto queue = session.superblock()->find(name)) held = std::make_shared<ipc::HeldQueue>(*queue);
  }
  const Status unlinked = session.superblock()->unlink(name);
  if (unlinked && held != nullptr) session.services().note_unlinked(task, std::move(held));
  fuse_reply_err(request, unlinked.code());
}

void on_opendir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  info->cache_readdir = session.caching();
  // With keep_cache the kernel lists an unchanged directory without a READDIR, so that reading it would leave
  // no trace; where the trace is due (doc/behaviour.md B12) the listing is dropped, and the READDIR comes.
  info->keep_cache = session.caching() && !session.superblock()->directory_read_is_due();
  fuse_reply_open(request, info);
}

void on_readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t position, fuse_file_info*) {
  reply_listing(request, size, position,
                [&](char* buffer, size_t room, const char* name, ipc::QueueInode* queue, off_t next) {
                  struct stat entry {};  // the number and the type are all that a directory entry has
                  entry.st_ino = queue != nullptr ? queue->inode() : ipc::kRootInode;
                  entry.st_mode = queue != nullptr ? S_IFREG : S_IFDIR;
                  return fuse_add_direntry(request, buffer, room, name, &entry, next);
                });
}

void on_readdirplus(fuse_req_t request, fuse_ino_t, size_t size, off_t position, fuse_file_info*) {
  FuseSession& session = FuseSession::of(request);
  reply_listing(request, size, position,
                [&](char* buffer, size_t room, const char* name, ipc::QueueInode* queue, off_t next) {
                  if (queue == nullptr) {  // "." and ".." are not looked up by it: no inode to remember
                    fuse_entry_param entry{};
                    entry.attr.st_ino = ipc::kRootInode;
                    entry.attr.st_mode = S_IFDIR;
                    return fuse_add_direntry_plus(request, buffer, room, name, &entry, next);
                  }
                  const size_t bytes = fuse_add_direntry_plus(request, nullptr, 0, name, nullptr, 0);
                  if (bytes > room) return bytes;
                  const fuse_entry_param entry = session.entry_for(queue->shared_from_this());
                  return fuse_add_direntry_plus(request, buffer, room, name, &entry, next);
                });
}

}  // namespace mqueuefs::fuse
