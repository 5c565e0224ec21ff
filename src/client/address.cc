#include "client/address.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/unique_fd.h"

namespace mqueuefs::client {

const char* const kSystemIsDown = "the system's daemon does not run";

namespace {

// PROC_USER_INIT_INO of include/linux/proc_ns.h: the one number that the first user namespace always has.
constexpr ino_t kInitialUserNamespaceInode = 0xEFFFFFFD;
constexpr const char* kSystemDirectory = "/run/mqueuefs";
constexpr size_t kPathBytes = sizeof(sockaddr_un::sun_path);

__attribute__((format(printf, 3, 4))) void add(Addresses& addresses, PeerRule rule, const char* format, ...) {
  MQUEUEFS_CHECK(addresses.count < Addresses::kMost);
  Address& address = addresses.list[addresses.count];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(address.path, sizeof address.path, format, arguments);
  va_end(arguments);
  address.rule = rule;
  // No socket can have a longer path.
  if (length > 0 && static_cast<size_t>(length) < sizeof address.path) ++addresses.count;
}

bool add_chosen(Addresses& addresses) {
  const char* chosen = secure_getenv("MQUEUEFS_SOCKET");
  if (chosen == nullptr || *chosen == '\0') return false;
  addresses.domain = Domain::kChosen;
  add(addresses, PeerRule::kAnyone, "%s", chosen);
  return true;
}

// 0: the initial one.
unsigned long foreign_user_namespace() {
  struct stat user_namespace {};
  if (stat("/proc/self/ns/user", &user_namespace) != 0 || user_namespace.st_ino == kInitialUserNamespaceInode) return 0;
  return static_cast<unsigned long>(user_namespace.st_ino);
}

bool is_own_directory(const char* path) {
  struct stat status {};
  return path[0] == '/' && stat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

// The same one whether a session set $XDG_RUNTIME_DIR or not, as cron and su don't.
void own_directory(char (&path)[kPathBytes]) {
  char usual[64];
  snprintf(usual, sizeof usual, "/run/user/%u", static_cast<unsigned>(geteuid()));
  const char* runtime = secure_getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || !is_own_directory(runtime)) runtime = is_own_directory(usual) ? usual : nullptr;
  if (runtime != nullptr) {
    snprintf(path, sizeof path, "%s/mqueuefs", runtime);
  } else {
    snprintf(path, sizeof path, "/tmp/mqueuefs-%u", static_cast<unsigned>(geteuid()));
  }
}

void add_system(Addresses& addresses) { add(addresses, PeerRule::kSystem, "%s/mqueuefs.sock", kSystemDirectory); }

void add_own(Addresses& addresses) {
  char own[kPathBytes];
  own_directory(own);
  add(addresses, PeerRule::kRootOrOurself, "%s/mqueuefs.sock", own);
}

bool system_socket_is_open() {
  char path[kPathBytes];
  snprintf(path, sizeof path, "%s/mqueuefs.sock", kSystemDirectory);
  return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

bool is_in_system_group() {
  unsigned group = 0;
  if (!system_group(group)) return false;
  if (getegid() == group) return true;
  const int count = getgroups(0, nullptr);
  if (count <= 0) return false;
  auto* const groups = static_cast<gid_t*>(__builtin_alloca(static_cast<size_t>(count) * sizeof(gid_t)));
  const int filled = getgroups(count, groups);
  for (int i = 0; i < filled; ++i) {
    if (groups[i] == group) return true;
  }
  return false;
}

// "mqueuefs:x:NUMBER:members"
bool parse_group(const char* line, unsigned& number) {
  const size_t length = strlen(kSystemSocketGroup);
  if (strncmp(line, kSystemSocketGroup, length) != 0 || line[length] != ':') return false;
  const char* digits = strchr(line + length + 1, ':');
  if (digits == nullptr || *++digits < '0' || *digits > '9') return false;
  number = 0;
  for (; *digits >= '0' && *digits <= '9'; ++digits) number = number * 10 + static_cast<unsigned>(*digits - '0');
  return *digits == ':';
}

}  // namespace

bool system_group(unsigned& number) {
  const UniqueFd file(open("/etc/group", O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  char piece[4096];
  char line[128];  // the beginning of one; members don't matter
  size_t length = 0;
  for (;;) {
    const ssize_t size = read(file.get(), piece, sizeof piece);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    for (ssize_t i = 0; i < size; ++i) {
      if (piece[i] != '\n') {
        if (length < sizeof line - 1) line[length++] = piece[i];
        continue;
      }
      line[length] = '\0';
      length = 0;
      if (parse_group(line, number)) return true;
    }
  }
}

Addresses socket_addresses() {
  Addresses addresses;
  if (add_chosen(addresses)) return addresses;
  if (const unsigned long inode = foreign_user_namespace(); inode != 0) {
    if (system_socket_is_open()) add_system(addresses);
    add_own(addresses);
    // A daemon inside a user namespace can't see processes outside, so it doesn't take the names above.
    char own[kPathBytes];
    own_directory(own);
    add(addresses, PeerRule::kRootOrOurself, "%s/mqueuefs-userns-%lu.sock", kSystemDirectory, inode);
    add(addresses, PeerRule::kRootOrOurself, "%s/mqueuefs-userns-%lu.sock", own, inode);
    return addresses;
  }
  const bool is_root = geteuid() == 0;
  if (is_root || is_in_system_group() || system_socket_is_open()) {
    addresses.domain = Domain::kSystem;
    addresses.may_start = is_root;
    add_system(addresses);
    if (is_root) add_own(addresses);  // where /run can't be written
    return addresses;
  }
  add_own(addresses);
  return addresses;
}

Addresses places_to_listen() {
  Addresses addresses;
  if (add_chosen(addresses)) return addresses;
  char own[kPathBytes];
  own_directory(own);
  char name[64] = "mqueuefs.sock";
  PeerRule rule = PeerRule::kSystem;
  if (const unsigned long inode = foreign_user_namespace(); inode != 0) {
    snprintf(name, sizeof name, "mqueuefs-userns-%lu.sock", inode);
    rule = PeerRule::kRootOrOurself;  // for everybody inside: that namespace's daemon is not the system's
  }
  if (geteuid() == 0) add(addresses, rule, "%s/%s", kSystemDirectory, name);
  add(addresses, PeerRule::kRootOrOurself, "%s/%s", own, name);
  return addresses;
}

Addresses known_addresses() {
  Addresses addresses;
  add_system(addresses);
  add_own(addresses);
  return addresses;
}

}  // namespace mqueuefs::client
