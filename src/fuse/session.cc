// The life of a session, and what it tells the kernel unasked.
//
// What the kernel caches (Caching::kOn): names and the directory for ever, since they change only through
// this superblock, by requests that the kernel makes itself; attributes until they change here, when it is
// told by FUSE_NOTIFY_INVAL_INODE. That one, with a negative offset, takes no inode lock, so it may be sent
// while a request on the same inode waits for its answer; FUSE_NOTIFY_INVAL_ENTRY takes the directory's and
// must not be.
#include "fuse/session.h"

#include <sys/stat.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "fuse/fuse_session.h"
#include "fuse/operations.h"

namespace mqueuefs::fuse {
Result<std::unique_ptr<Session>> Session::create(UniqueFd fuse_device,
                                                 std::shared_ptr<ipc::Superblock> superblock,
                                                 Services& services, Caching caching) {
  auto session = std::make_unique<FuseSession>(std::move(superblock), services, caching);
  const Status connected = session->connect(std::move(fuse_device));
  if (!connected) return connected.error();
  return std::unique_ptr<Session>(std::move(session));
}

FuseSession::FuseSession(std::shared_ptr<ipc::Superblock> superblock, Services& services, Caching caching)
    : superblock_(std::move(superblock)), services_(services), caching_(caching) {
  superblock_->add_observer(*this);
}

FuseSession::~FuseSession() {
  superblock_->remove_observer(*this);
  for (auto& [number, file] : files_) {
    file.poll.reset();
    // Its FLUSH will never come.
    if (file.registrant != 0) file.queue->process_closed(file.registrant);
    file.queue->close_handle();
  }
}

Status FuseSession::connect(UniqueFd fuse_device) {
  return device_.connect(std::move(fuse_device), kOperations, this);
}

void on_init(void*, fuse_conn_info* connection) {
  // Not wanted though libfuse would: AUTO_INVAL_DATA (nothing is cached), HANDLE_KILLPRIV (the kernel's own
  // way clears set-uid bits as it does for mqueue), IOCTL_DIR, ASYNC_DIO, splice. ATOMIC_O_TRUNC: without it
  // open(O_TRUNC) could not be told from truncate(2), which moves other times. READDIRPLUS_AUTO: `ls` reads
  // names only, `ls -l` names and attributes in one pass.
  constexpr unsigned kWanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
                               FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
  connection->want = connection->capable & kWanted;
  connection->max_write = kMaxTransferBytes;
  // RELEASE is a background request: with few allowed at a time a close could be overtaken by what follows
  // it.
  connection->max_background = 65535;
  connection->congestion_threshold = 65535;
  connection->time_gran = 1'000'000'000;  // doc/behaviour.md B10
}

void FuseSession::attributes_changed(ipc::QueueInode& queue) {
  Node* node = nodes_.find(queue.inode());
  if (node == nullptr || !std::exchange(node->attributes_cached, false)) return;
  fuse_lowlevel_notify_inval_inode(device_.session(), queue.inode(), -1, 0);
}

void FuseSession::readiness_changed(ipc::QueueInode& queue) {
  Node* node = nodes_.find(queue.inode());
  if (node == nullptr || node->pollers.empty()) return;
  // Once is enough: whoever is woken asks again, and with the question comes the next handle.
  const std::vector<OpenFile*> pollers = std::exchange(node->pollers, {});
  for (OpenFile* file : pollers) {
    fuse_lowlevel_notify_poll(file->poll.get());
    file->poll.reset();
  }
}

struct stat FuseSession::attributes_of(Node& node) {
  ipc::QueueInode& queue = *node.queue;
  queue.refresh();
  const ipc::FileAttributes& file = queue.file();
  struct stat attributes {};
  attributes.st_ino = queue.inode();
  attributes.st_mode = S_IFREG | file.mode;
  attributes.st_nlink = queue.linked() ? 1 : 0;
  attributes.st_uid = file.uid;
  attributes.st_gid = file.gid;
  attributes.st_size = queue.file_size();
  attributes.st_blksize = 4096;
  attributes.st_atim.tv_sec = file.atime_s;
  attributes.st_mtim.tv_sec = file.mtime_s;
  attributes.st_ctim.tv_sec = file.ctime_s;
  node.attributes_cached = caching() && !queue.is_mapped();
  return attributes;
}

struct stat FuseSession::root_attributes() const {
  const ipc::FileAttributes& file = superblock_->root();
  struct stat attributes {};
  attributes.st_ino = ipc::kRootInode;
  attributes.st_mode = S_IFDIR | file.mode;
  attributes.st_nlink = 2;
  attributes.st_uid = file.uid;
  attributes.st_gid = file.gid;
  attributes.st_size = superblock_->root_size();
  attributes.st_blksize = 4096;
  attributes.st_atim.tv_sec = file.atime_s;
  attributes.st_mtim.tv_sec = file.mtime_s;
  attributes.st_ctim.tv_sec = file.ctime_s;
  return attributes;
}

fuse_entry_param FuseSession::entry_for(std::shared_ptr<ipc::QueueInode> queue) {
  Node& node = nodes_.remember(std::move(queue));
  fuse_entry_param entry{};
  entry.ino = node.queue->inode();
  entry.attr = attributes_of(node);
  entry.attr_timeout = attributes_timeout_s(node);
  entry.entry_timeout = timeout_s();
  return entry;
}

Status FuseSession::open(std::shared_ptr<ipc::QueueInode> queue, fuse_file_info& info) {
  const Status opened = queue->open_handle();
  if (!opened) return opened.error();
  info.fh = files_.add(std::move(queue), info.flags).first;
  info.direct_io = 1;  // what read(2) gives changes all the time; no shared mmap (doc/behaviour.md B5)
  return {};
}

void FuseSession::close(uint64_t number) {
  OpenFile* file = files_.find(number);
  if (file == nullptr) return;
  drop_poll_handle(*file);
  const std::shared_ptr<ipc::QueueInode> queue = file->queue;
  files_.remove(number);
  queue->close_handle();
}

void FuseSession::keep_poll_handle(OpenFile& file, PollHandle handle) {
  Node* node = nodes_.find(file.queue->inode());
  if (node == nullptr) return;
  if (file.poll == nullptr) node->pollers.push_back(&file);
  file.poll = std::move(handle);
}

void FuseSession::drop_poll_handle(OpenFile& file) {
  if (file.poll == nullptr) return;
  if (Node* node = nodes_.find(file.queue->inode())) std::erase(node->pollers, &file);
  file.poll.reset();
}

int check_name(const char* name) {
  return std::strlen(name) > ipc::kMaxNameBytes ? ENAMETOOLONG : 0;
}

std::string library_version() { return fuse_pkgversion(); }

}  // namespace mqueuefs::fuse
