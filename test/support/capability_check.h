// What this machine lets a test do. A test that can't run is skipped by capability, never by kernel version.
#pragma once

namespace mqueuefs::test {

/// Each question tries the thing itself (in a child where it would leave traces); none needs privilege.
class CapabilityCheck {
 public:
  /// /dev/fuse can be opened.
  static bool has_fuse();
  /// fusermount3 is in PATH: an ordinary user can mount.
  static bool has_fusermount();
  /// The kernel knows the file system type `mqueue`.
  static bool has_kernel_mqueue();
  static bool is_root();
  /// The calling process may make a user namespace of its own.
  static bool can_unshare_user();
  /// uid 65534 may, even if we are root.
  static bool ordinary_user_can_unshare_user();
  /// The calling process may make IPC and mount namespaces.
  static bool can_unshare_ipc();
  /// `capability` is effective in this process, see capabilities(7).
  static bool has_capability(int capability);
};

}  // namespace mqueuefs::test
