#include "daemon/superblock_maker.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "control/messages.h"

namespace mqueuefs::daemon {
namespace {

constexpr uid_t kOverflowId = 65534;  // what an unmapped id looks like

Status write_file(const char* path, const char* text, size_t length) {
  const UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file || write(file.get(), text, length) != static_cast<ssize_t>(length)) return last_error(path);
  return {};
}

// --- in a child only ---

Status enter_mount_namespace() {
  // Mounting is allowed in a mount namespace that the user namespace owns.
  if (unshare(CLONE_NEWNS) < 0) return last_error("unshare mount namespace");
  return {};
}

SuperblockOptions options_here(bool allow_other) {
  SuperblockOptions options;
  // Inside of the requester's user namespace our own ids may have no numbers; there it does not matter.
  options.uid = allow_other && geteuid() == kOverflowId ? 0 : geteuid();
  options.gid = allow_other && getegid() == kOverflowId ? 0 : getegid();
  options.allow_other = allow_other;
  return options;
}

void make_superblock(bool allow_other, ChildReport& report) {
  const auto device = open_fuse_device();
  if (!device) return report.fail(device.error());
  const auto mount = make_mount(device->get(), options_here(allow_other), mount_attributes(0));
  if (!mount) return report.fail(mount.error());
  const auto root = root_of(mount->get());
  if (!root) return report.fail(root.error());
  const UniqueFd user_namespace(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  if (!user_namespace) return report.fail(last_error("open user namespace"));
  const int fds[] = {device->get(), root->get(), user_namespace.get()};
  report.succeed(fds);
}

}  // namespace

Status enter_user_namespace(int user_namespace) {
  if (setns(user_namespace, CLONE_NEWUSER) < 0) return last_error("setns user namespace");
  return enter_mount_namespace();
}

Status enter_fresh_user_namespace() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER) < 0) return last_error("unshare user namespace");
  char map[48];
  int length = snprintf(map, sizeof map, "%u %u 1\n", uid, uid);
  if (const Status mapped = write_file("/proc/self/uid_map", map, static_cast<size_t>(length)); !mapped)
    return mapped;
  if (const Status denied = write_file("/proc/self/setgroups", "deny", 4); !denied) return denied;
  length = snprintf(map, sizeof map, "%u %u 1\n", gid, gid);
  if (const Status mapped = write_file("/proc/self/gid_map", map, static_cast<size_t>(length)); !mapped)
    return mapped;
  return enter_mount_namespace();
}

SuperblockMaker::SuperblockMaker(ChildTasks& children, const Features& features, std::string work_dir)
    : children_(children), features_(features), work_dir_(std::move(work_dir)) {}

void SuperblockMaker::make(UniqueFd owner, std::function<void(Result<KernelSuperblock>)> done) {
  if (features_.mount_privilege) {
    KernelSuperblock made;
    auto device = open_fuse_device();
    if (!device) return done(device.error());
    SuperblockOptions options;
    options.allow_other = true;
    const auto mount = make_mount(device->get(), options, mount_attributes(0));
    if (!mount) return done(mount.error());
    auto root = root_of(mount->get());
    if (!root) return done(root.error());
    made.device = std::move(*device);
    made.root = std::move(*root);
    return done(std::move(made));
  }
  if (features_.user_namespaces || (owner && features_.enter_user_namespaces)) {
    return make_in_user_namespace(std::move(owner), std::move(done));
  }
  if (features_.fusermount) return make_by_fusermount(std::move(done));
  done(Error{EOPNOTSUPP, "no right to mount, no user namespaces, no fusermount3"});
}

void SuperblockMaker::make_in_user_namespace(UniqueFd owner,
                                             std::function<void(Result<KernelSuperblock>)> done) {
  const auto shared_owner = std::make_shared<UniqueFd>(std::move(owner));
  const bool has_owner = static_cast<bool>(*shared_owner);
  children_.run(
      [shared_owner, has_owner](ChildReport& report) {
        const Status entered =
            has_owner ? enter_user_namespace(shared_owner->get()) : enter_fresh_user_namespace();
        if (!entered) return report.fail(entered.error());
        make_superblock(has_owner, report);
      },
      [this, has_owner, done = std::move(done)](Result<ChildFds> fds) {
        if (!fds && has_owner) {
          // Not a user namespace of ours; what anybody may do remains.
          if (features_.user_namespaces) return make_in_user_namespace(UniqueFd(), done);
          if (features_.fusermount) return make_by_fusermount(done);
        }
        if (!fds) return done(fds.error());
        KernelSuperblock made;
        made.way = SuperblockWay::kInUserNamespace;
        made.device = std::move((*fds)[0]);
        made.root = std::move((*fds)[1]);
        made.user_namespace = std::move((*fds)[2]);
        made.owned_by_requester = has_owner;
        done(std::move(made));
      });
}

void SuperblockMaker::make_by_fusermount(std::function<void(Result<KernelSuperblock>)> done) {
  children_.run(
      [work_dir = work_dir_](ChildReport& report) {
        const std::string fusermount = find_fusermount();
        std::string dir = work_dir + "/mount-XXXXXX";
        if (mkdtemp(dir.data()) == nullptr) return report.fail(last_error("mkdtemp"));
        const auto device = mount_by_fusermount(
            fusermount, dir.c_str(), "nosuid,nodev,noexec,default_permissions,subtype=mqueuefs,fsname=none");
        if (!device) {
          rmdir(dir.c_str());
          return report.fail(device.error());
        }
        const auto root = root_at(dir.c_str());
        if (!root) {
          report.fail(root.error());
        } else {
          const int fds[] = {device->get(), root->get()};
          report.succeed(fds);
        }
        // From here on the daemon serves it, which the helper needs.
        if (const Status detached = unmount_by_fusermount(fusermount, dir.c_str()); detached)
          rmdir(dir.c_str());
      },
      [done = std::move(done)](Result<ChildFds> fds) {
        if (!fds) return done(fds.error());
        KernelSuperblock made;
        made.way = SuperblockWay::kFusermount;
        made.device = std::move((*fds)[0]);
        made.root = std::move((*fds)[1]);
        done(std::move(made));
      });
}

void SuperblockMaker::mount_again(const KernelSuperblock& superblock, int device, const std::string& source,
                                  uint64_t attributes, std::function<void(Result<UniqueFd>)> done) {
  switch (superblock.way) {
    case SuperblockWay::kPrivileged: {
      SuperblockOptions options;
      options.source = source;
      options.allow_other = true;
      return done(make_mount(device, options, attributes));
    }
    case SuperblockWay::kInUserNamespace:
      children_.run(
          [user_namespace = superblock.user_namespace.get(), allow_other = superblock.owned_by_requester,
           device, source, attributes](ChildReport& report) {
            if (const Status entered = enter_user_namespace(user_namespace); !entered) {
              return report.fail(entered.error());
            }
            SuperblockOptions options = options_here(allow_other);
            options.source = source;
            const auto mount = make_mount(device, options, attributes);
            if (!mount) return report.fail(mount.error());
            const int fds[] = {mount->get()};
            report.succeed(fds);
          },
          [done = std::move(done)](Result<ChildFds> fds) {
            if (!fds) return done(fds.error());
            done(std::move((*fds)[0]));
          });
      return;
    case SuperblockWay::kFusermount:
      return done(Error{EOPNOTSUPP, "mounted by fusermount3"});
  }
}

void SuperblockMaker::set_read_only(const KernelSuperblock& superblock, bool read_only,
                                    std::function<void(Status)> done) {
  if (superblock.way == SuperblockWay::kFusermount) return done(Error{EOPNOTSUPP, "mounted by fusermount3"});
  children_.run(
      [user_namespace = superblock.user_namespace.get(), root = superblock.root.get(),
       read_only](ChildReport& report) {
        if (user_namespace >= 0) {
          if (const Status entered = enter_user_namespace(user_namespace); !entered) {
            return report.fail(entered.error());
          }
        }
        const Status set = daemon::set_read_only(root, read_only);
        if (!set) return report.fail(set.error());
        report.succeed({});
      },
      [done = std::move(done)](Result<ChildFds> fds) { done(fds ? Status() : Status(fds.error())); });
}

}  // namespace mqueuefs::daemon
