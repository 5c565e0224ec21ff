// A session that shows a TextTree.
//
// Names and attributes never change, so the kernel may keep them for ever; what is in a file is asked for at each open and
// each read from the beginning, and the rest of it comes from the same moment (as with the kernel's seq_file).
#include <errno.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fuse/device.h"
#include "fuse/fuse_session.h"
#include "fuse/operations.h"
#include "fuse/text_tree.h"

namespace mqueuefs::fuse {
namespace {

constexpr size_t kMostWrittenBytes = 4096;

/// A directory or a file; its inode is its place in the table, plus 1.
struct TextNode {
  size_t parent = 0;
  std::optional<size_t> file;  // none: a directory
  std::map<std::string, size_t, std::less<>> entries;
};

class TextSession final : public Session {
 public:
  explicit TextSession(std::unique_ptr<TextTree> tree) : tree_(std::move(tree)), nodes_(1) {
    const auto files = tree_->files();
    for (size_t file = 0; file < files.size(); ++file) {
      size_t at = 0;
      std::string_view rest = files[file].path;
      while (!rest.empty()) {
        const size_t slash = std::min(rest.find('/'), rest.size());
        at = entry(at, rest.substr(0, slash));
        rest.remove_prefix(std::min(slash + 1, rest.size()));
      }
      nodes_[at].file = file;
    }
  }
  Status connect(UniqueFd fuse_device);

  int device() const override { return device_.fd(); }
  bool process() override { return device_.process(); }
  SessionCounters counters() const override { return {.requests = device_.requests()}; }

  // --- for the operations ---
  static TextSession& of(fuse_req_t request) { return *static_cast<TextSession*>(fuse_req_userdata(request)); }

  TextTree& tree() { return *tree_; }
  /// Null: no such inode.
  const TextNode* find(fuse_ino_t inode) const { return inode - 1 < nodes_.size() ? &nodes_[inode - 1] : nullptr; }

  struct stat attributes_of(fuse_ino_t inode) const {
    const TextNode& node = nodes_[inode - 1];
    struct stat attributes {};
    attributes.st_ino = inode;
    attributes.st_mode = node.file ? S_IFREG | tree_->files()[*node.file].mode : S_IFDIR | 0555;
    attributes.st_nlink = node.file ? 1 : 2;
    attributes.st_uid = tree_->uid();
    attributes.st_gid = tree_->gid();
    attributes.st_blksize = 4096;
    return attributes;
  }
  fuse_entry_param entry_of(fuse_ino_t inode) const {
    fuse_entry_param entry{};
    entry.ino = inode;
    entry.attr = attributes_of(inode);
    entry.attr_timeout = kForever_s;
    entry.entry_timeout = kForever_s;
    return entry;
  }

  /// What open descriptions have read so far, by their numbers.
  std::unordered_map<uint64_t, std::string>& texts() { return texts_; }
  uint64_t next_number() { return ++last_number_; }

 private:
  size_t entry(size_t parent, std::string_view name) {
    const auto found = nodes_[parent].entries.find(name);
    if (found != nodes_[parent].entries.end()) return found->second;
    const size_t place = nodes_.size();
    nodes_[parent].entries.emplace(name, place);
    nodes_.push_back({.parent = parent, .file = {}, .entries = {}});
    return place;
  }

  const std::unique_ptr<TextTree> tree_;
  std::vector<TextNode> nodes_;
  std::unordered_map<uint64_t, std::string> texts_;
  uint64_t last_number_ = 0;
  Device device_;  // last: nothing asks when the rest is gone
};

void text_init(void*, fuse_conn_info* connection) { connection->want = connection->capable & FUSE_CAP_PARALLEL_DIROPS; }

void text_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  TextSession& session = TextSession::of(request);
  const TextNode* node = session.find(parent);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  const auto found = node->entries.find(std::string_view(name));
  fuse_entry_param entry{};  // inode 0: the kernel may remember that there is no such name
  entry.entry_timeout = kForever_s;
  if (found != node->entries.end()) entry = session.entry_of(found->second + 1);
  fuse_reply_entry(request, &entry);
}

void text_getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
  TextSession& session = TextSession::of(request);
  if (session.find(inode) == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  const struct stat attributes = session.attributes_of(inode);
  fuse_reply_attr(request, &attributes, kForever_s);
}

// fs/proc/proc_sysctl.c:proc_sys_setattr: mode and owner are not to be changed; `echo 5 >` truncates.
void text_setattr(fuse_req_t request, fuse_ino_t inode, struct stat*, int which, fuse_file_info* info) {
  if ((which & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    fuse_reply_err(request, EPERM);
    return;
  }
  text_getattr(request, inode, info);
}

void text_open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
  TextSession& session = TextSession::of(request);
  const TextNode* node = session.find(inode);
  if (node == nullptr || !node->file) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  info->fh = session.next_number();
  info->direct_io = 1;  // it has no size, and is another text each time
  session.texts().emplace(info->fh, std::string());
  if (fuse_reply_open(request, info) != 0) session.texts().erase(info->fh);
}

void text_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, fuse_file_info* info) {
  TextSession& session = TextSession::of(request);
  const TextNode* node = session.find(inode);
  const auto text = session.texts().find(info->fh);
  if (node == nullptr || !node->file || text == session.texts().end()) {
    fuse_reply_err(request, EBADF);
    return;
  }
  if (offset == 0) {
    auto fresh = session.tree().read(*node->file, fuse_req_ctx(request)->pid);
    if (!fresh) {
      fuse_reply_err(request, fresh.code());
      return;
    }
    text->second = std::move(*fresh);
  }
  const size_t from = std::min(static_cast<size_t>(std::max<off_t>(offset, 0)), text->second.size());
  fuse_reply_buf(request, text->second.data() + from, std::min(size, text->second.size() - from));
}

void text_write(fuse_req_t request, fuse_ino_t inode, const char* bytes, size_t size, off_t offset, fuse_file_info*) {
  TextSession& session = TextSession::of(request);
  const TextNode* node = session.find(inode);
  if (node == nullptr || !node->file) {
    fuse_reply_err(request, EBADF);
    return;
  }
  // kernel/sysctl.c: what is written elsewhere than at the beginning is ignored.
  Status written;
  if (size > kMostWrittenBytes) written = Error{EINVAL};
  if (offset == 0 && written) {
    const fuse_ctx& caller = *fuse_req_ctx(request);
    written = session.tree().write(*node->file, {.task = caller.pid, .uid = caller.uid}, {bytes, size});
  }
  if (written) {
    fuse_reply_write(request, size);
  } else {
    fuse_reply_err(request, written.code());
  }
}

void text_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  TextSession::of(request).texts().erase(info->fh);
  fuse_reply_err(request, 0);
}

void text_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t position, fuse_file_info*) {
  TextSession& session = TextSession::of(request);
  const TextNode* node = session.find(inode);
  if (node == nullptr || node->file) {
    fuse_reply_err(request, ENOTDIR);
    return;
  }
  std::vector<std::pair<std::string, size_t>> entries{{".", inode - 1}, {"..", node->parent}};
  entries.insert(entries.end(), node->entries.begin(), node->entries.end());
  std::vector<char> listing(std::min<size_t>(size, kMaxTransferBytes));
  size_t used = 0;
  for (size_t at = static_cast<size_t>(std::max<off_t>(position, 0)); at < entries.size(); ++at) {
    const struct stat attributes = session.attributes_of(entries[at].second + 1);
    const size_t bytes = fuse_add_direntry(request, listing.data() + used, listing.size() - used,
                                           entries[at].first.c_str(), &attributes, static_cast<off_t>(at + 1));
    if (bytes > listing.size() - used) break;
    used += bytes;
  }
  fuse_reply_buf(request, listing.data(), used);
}

// Only who passes by the directories' modes gets here.
void refuse_create(fuse_req_t request, fuse_ino_t, const char*, mode_t, fuse_file_info*) {
  fuse_reply_err(request, EPERM);
}
void refuse_mknod(fuse_req_t request, fuse_ino_t, const char*, mode_t, dev_t) { fuse_reply_err(request, EPERM); }

// What is missing is answered ENOSYS, after which the kernel answers for it itself; see operations.cc.
const fuse_lowlevel_ops kTextOperations = {
    .init = text_init,
    .lookup = text_lookup,
    .getattr = text_getattr,
    .setattr = text_setattr,  // EPERM
    .mknod = refuse_mknod,
    .mkdir = refuse_mkdir,
    .unlink = refuse_rmdir,
    .rmdir = refuse_rmdir,
    .symlink = refuse_symlink,
    .rename = refuse_rename,
    .link = refuse_link,
    .open = text_open,
    .read = text_read,    // ESTALE: the namespace is gone
    .write = text_write,  // EINVAL EPERM ESTALE
    .release = text_release,
    .readdir = text_readdir,
    .create = refuse_create,
};

Status TextSession::connect(UniqueFd fuse_device) { return device_.connect(std::move(fuse_device), kTextOperations, this); }

}  // namespace

Result<std::unique_ptr<Session>> Session::create(UniqueFd fuse_device, std::unique_ptr<TextTree> tree) {
  auto session = std::make_unique<TextSession>(std::move(tree));
  const Status connected = session->connect(std::move(fuse_device));
  if (!connected) return connected.error();
  return std::unique_ptr<Session>(std::move(session));
}

}  // namespace mqueuefs::fuse
