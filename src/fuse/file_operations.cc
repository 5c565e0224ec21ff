// What happens to an open queue.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"
#include "control/queue_ioctl.h"
#include "fuse/fuse_session.h"
#include "fuse/operations.h"
#include "fuse/queue_ioctl.h"
#include "ipc/status_line.h"

namespace mqueuefs::fuse {
namespace {

/// open(O_TRUNC), which FUSE leaves to us as a whole (ATOMIC_O_TRUNC): st_size, the times, and what else
/// fs/attr.c:setattr_should_drop_suidgid says for a caller without CAP_FSETID (here: any but root; other
/// groups of his are not asked for, which drops more, never less). The messages stay (doc/behaviour.md B6).
void truncate_on_open(ipc::QueueInode& queue, const fuse_ctx& caller) {
  ipc::AttributeChange change;
  change.size = 0;
  change.mtime_s = file_time_now_s();
  const mode_t mode = queue.file().mode;
  mode_t dropped = mode & S_ISUID;
  if ((mode & S_IXGRP) != 0 || caller.gid != queue.file().gid) dropped |= mode & S_ISGID;
  if (caller.uid != 0 && dropped != 0) change.mode = mode & ~dropped;
  queue.set_attributes(change);
}

}  // namespace

void on_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  Node* node = session.nodes().find(inode);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  const std::shared_ptr<ipc::QueueInode> queue = node->queue;
  // O_CREAT of what exists: what was announced for it does not count (doc/behaviour.md C4).
  session.services().take_announcement(fuse_req_ctx(request)->pid, queue->name());
  if ((info->flags & O_DIRECT) != 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  const Status opened = session.open(queue, *info);
  if (!opened) {
    fuse_reply_err(request, opened.code());
    return;
  }
  if ((info->flags & O_TRUNC) != 0) truncate_on_open(*queue, *fuse_req_ctx(request));
  if (fuse_reply_open(request, info) != 0) session.close(info->fh);
}

void on_read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  OpenFile* file = session.file(info);
  if (file == nullptr) {
    fuse_reply_err(request, EBADF);
    return;
  }
  const ipc::QueueStatus status = file->queue->status();
  const pid_t owner = status.notify_process != 0
                          ? session.tasks().pid_seen_by(status.notify_process, fuse_req_ctx(request)->pid)
                          : 0;
  std::array<char, 128> line;
  const size_t length = ipc::format_status_line(status, owner, line);
  const size_t from = std::min(static_cast<size_t>(std::max<off_t>(offset, 0)), length);
  const size_t bytes = std::min(size, length - from);
  if (bytes > 0) file->queue->touch();  // doc/behaviour.md B11
  fuse_reply_buf(request, line.data() + from, bytes);
}

void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  FuseSession& session = FuseSession::of(request);
  OpenFile* file = session.file(info);
  if (file != nullptr && file->only_for_mapping) file = nullptr;
  if (file != nullptr) file->queue->note_descriptor_closed();
  // Each close(2), the last or not, of any descriptor of the queue (doc/behaviour.md F7). FUSE names the thread.
  if (file != nullptr && (file->queue->has_registration() || file->queue->is_mapped())) {
    const pid_t process = session.tasks().process_of(fuse_req_ctx(request)->pid);
    if (process != 0) file->queue->process_closed(process);
  }
  fuse_reply_err(request, 0);
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  FuseSession::of(request).close(info->fh);
  fuse_reply_err(request, 0);
}

void on_poll(fuse_req_t request, fuse_ino_t, fuse_file_info* info, fuse_pollhandle* handle) {
  PollHandle poll(handle);
  FuseSession& session = FuseSession::of(request);
  OpenFile* file = session.file(info);
  if (file == nullptr) {
    fuse_reply_err(request, EBADF);
    return;
  }
  // Kept even if something is ready: an edge-triggered epoll waits for the next message (doc/behaviour.md E10).
  if (poll != nullptr) {
    session.keep_poll_handle(*file, std::move(poll));
    file->queue->poll();
  }
  unsigned events = 0;
  if (file->queue->readable()) events |= POLLIN | POLLRDNORM;
  if (file->queue->writable()) events |= POLLOUT | POLLWRNORM;
  fuse_reply_poll(request, events);
}

void on_ioctl(fuse_req_t request, fuse_ino_t, unsigned command, void*, fuse_file_info* info, unsigned flags,
              const void* argument, size_t argument_bytes, size_t answer_bytes) {
  // One for the thread: an answer is sent before the next request is read. A compat caller (32 bits) needs
  // nothing special: what travels looks the same for it.
  alignas(8) thread_local std::array<std::byte, control::kMaxIoctlBytes> answer;
  FuseSession& session = FuseSession::of(request);
  if ((flags & FUSE_IOCTL_DIR) != 0) {
    fuse_reply_err(request, ENOTTY);
    return;
  }
  OpenFile* file = session.file(info);
  if (file == nullptr) {
    fuse_reply_err(request, EBADF);
    return;
  }
  const fuse_ctx* context = fuse_req_ctx(request);
  const IoctlContext ioctl{
      *file, session.tasks(), session.services(), {.task = context->pid, .uid = context->uid}};
  const std::span<const std::byte> in(static_cast<const std::byte*>(argument), argument_bytes);
  const std::span<std::byte> out(answer.data(), std::min(answer_bytes, answer.size()));
  const IoctlReply reply = handle_queue_ioctl(ioctl, command, in, out);
  if (reply.error != 0) {
    fuse_reply_err(request, reply.error);
    return;
  }
  const bool delivered = fuse_reply_ioctl(request, reply.outcome, answer.data(), reply.size) == 0;
  if (delivered) return;
  // The connection was cut while the request was answered: nobody has the messages.
  const auto give_back = [&](const IoctlReply::Taken& taken) {
    const auto payload = std::span(answer).subspan(taken.offset, taken.info.size);
    file->queue->give_back({taken.info, {payload.begin(), payload.end()}});
  };
  if (reply.taken) give_back(*reply.taken);
  for (const IoctlReply::Taken& taken : reply.further) give_back(taken);
}

}  // namespace mqueuefs::fuse
