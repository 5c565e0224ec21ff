// Rows about many queues and many namespaces: how long, and how much memory. See fs_rows.h.
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "control/queue_ioctl.h"
#include "fs_rows.h"
#include "measure.h"

namespace mqueuefs::bench {
namespace {

// What a default queue is charged, see RLIMIT_MSGQUEUE in getrlimit(2): 10 messages of 8192 bytes.
constexpr uint64_t kDefaultCharge = 10 * (8192 + 48) + 10 * 48;

/// Creates `count` default queues l0, l1, ... in `dir`. One user may have only a few of them (RLIMIT_MSGQUEUE),
/// so, where permitted, as many users as it takes make them; then they are given to this one, or `ls -l` would
/// spend its time with looking up users. Returns how many there are then.
int create_queues(const std::string& dir, int count) {
  rlimit limit{};
  getrlimit(RLIMIT_MSGQUEUE, &limit);
  const int for_each_user =
      static_cast<int>(std::clamp<uint64_t>(limit.rlim_cur / kDefaultCharge, 1, 1'000'000));
  int made = 0;
  for (uid_t uid = 100'000; made < count; ++uid) {
    const int end = std::min(count, made + for_each_user);
    Child child = Child::start([&] {
      // Fails inside a one-user user namespace; then everything goes to that user, as far as it gets.
      if (setresuid(uid, uid, uid) != 0 && made > 0) return 1;
      for (int index = made; index < end; ++index) {
        const int fd = open((dir + "/l" + std::to_string(index)).c_str(), O_RDONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) return 1;
        close(fd);
      }
      return 0;
    });
    if (child.wait() != 0) break;
    for (int index = made; index < end; ++index) {
      const std::string path = dir + "/l" + std::to_string(index);
      if (chown(path.c_str(), getuid(), getgid()) != 0) fail("chown " + path);
    }
    made = end;
  }
  return made;
}

// A message through each queue: from then on it has whatever a queue that was used has.
void use_queues(const std::string& dir, int count) {
  struct {
    control::SendHeader header;
    char payload[64];
  } sent{};
  sent.header.size = sizeof sent.payload;
  std::vector<char> received(sizeof(control::ReceiveHeader) + 8192);
  for (int index = 0; index < count; ++index) {
    const std::string path = dir + "/l" + std::to_string(index);
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    control::ReceiveHeader header{};
    header.buffer_size = 8192;
    memcpy(received.data(), &header, sizeof header);
    if (fd < 0 || ioctl(fd, control::queue_ioctl(control::QueueIoctl::kSend, sizeof sent), &sent) != 0 ||
        ioctl(fd, control::queue_ioctl(control::QueueIoctl::kReceive, static_cast<uint32_t>(received.size())),
              received.data()) != 0) {
      fail("a message through " + path);
    }
    close(fd);
  }
}

void remove_queues(const std::string& dir, int count) {
  for (int index = 0; index < count; ++index) unlink((dir + "/l" + std::to_string(index)).c_str());
}

int64_t time_ls(const std::string& dir) {
  const int64_t start = monotonic_ns();
  if (!run_program({"ls", "-l", dir}, Output::kHidden)) fail("ls -l " + dir);
  return monotonic_ns() - start;
}

// Drops what the kernel has cached of `dir`: the listing (a change of the directory does that) and the names and
// inodes (a remount does, for that file system alone).
void forget_everything(const std::string& dir) {
  const std::string passing = dir + "/n-passing";
  close(open(passing.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  unlink(passing.c_str());
  if (mount(nullptr, dir.c_str(), nullptr, MS_REMOUNT | MS_NODEV | MS_NOEXEC | MS_RELATIME, nullptr) != 0) {
    fail("mount -o remount " + dir);
  }
  usleep(200'000);  // FUSE tells the server of each forgotten inode, which shall not count as listing
}

struct Memory {
  uint64_t bytes = 0;
  int memfds = 0;
};

/// The daemon's own memory and that of its memfds. Pages of mapped memfds are counted once.
Memory daemon_memory(pid_t daemon) {
  const std::string proc = "/proc/" + std::to_string(daemon);
  Memory memory;
  std::ifstream rollup(proc + "/smaps_rollup");
  for (std::string line; std::getline(rollup, line);) {
    // Shared memory is counted below, whether it is mapped at the moment or not.
    unsigned long long kib = 0;
    if (sscanf(line.c_str(), "Pss_Anon: %llu kB", &kib) == 1 || sscanf(line.c_str(), "Pss_File: %llu kB", &kib) == 1) {
      memory.bytes += kib * 1024;
    }
  }
  DIR* fds = opendir((proc + "/fd").c_str());
  if (fds == nullptr) fail(proc + "/fd");
  while (const dirent* entry = readdir(fds)) {
    const std::string link = proc + "/fd/" + entry->d_name;
    char name[64] = {};
    if (readlink(link.c_str(), name, sizeof name - 1) < 0 || strncmp(name, "/memfd:", 7) != 0) continue;
    struct stat memfd{};
    if (stat(link.c_str(), &memfd) != 0) continue;
    memory.bytes += static_cast<uint64_t>(memfd.st_blocks) * 512;
    ++memory.memfds;
  }
  closedir(fds);
  return memory;
}

Row memory_row(const std::string& what, const Memory& before, const Memory& after, int count) {
  Row row;
  row.what = what;
  row.unit = "KiB";
  row.mqueuefs = static_cast<double>(after.bytes - before.bytes) / count / 1024;
  row.target = "<= 8 KiB";
  row.reached = *row.mqueuefs <= 8;
  row.note = "at " + std::to_string(count) + " empty default queues: the daemon (Pss) and its " +
             std::to_string(after.memfds - before.memfds) + " memfds, less what was before";
  return row;
}

Row ls_row(const World& world, const std::string& what, const Measured& measured, int count) {
  Row row;
  row.what = what;
  row.unit = "ms";
  const size_t floor = world.kernel.empty() ? 0 : 1;
  if (!world.kernel.empty()) {
    row.kernel = measured.median_ns(0) / 1e6;
    row.ratio = measured.ratio(floor + 1, 0);
    row.target = "<= 4 x kernel";
    row.reached = *row.ratio <= 4;
  }
  row.floor = measured.median_ns(floor) / 1e6;
  row.mqueuefs = measured.median_ns(floor + 1) / 1e6;
  row.note = "of " + std::to_string(count) + " queues, the command and its sorting included";
  return row;
}

}  // namespace

void add_many_queue_rows(const World& world, Report& report) {
  const Memory before = daemon_memory(world.daemon);
  const int count = create_queues(world.ours, world.queues);
  const Memory after = daemon_memory(world.daemon);
  if (!world.kernel.empty() && create_queues(world.kernel, count) != count) fail("creating the kernel's queues");

  std::vector<Contender> first;
  std::vector<Contender> repeated;
  for (const std::string& dir : {world.kernel, world.floor, world.ours}) {
    if (dir.empty()) continue;
    first.push_back({dir, [dir] {
      forget_everything(dir);
      return time_ls(dir);
    }});
    repeated.push_back({dir, [dir] { return time_ls(dir); }});
  }
  const int rounds = std::max(3, world.rounds / 3);
  report.rows.push_back(ls_row(world, "ls -l, nothing cached", measure(first, 1, rounds), count));
  report.rows.push_back(ls_row(world, "ls -l, repeated", measure(repeated, 1, rounds), count));

  report.rows.push_back(memory_row("memory for an empty queue", before, after, count));
  use_queues(world.ours, count);
  report.rows.push_back(memory_row("memory for one that was used", before, daemon_memory(world.daemon), count));

  remove_queues(world.ours, count);
  if (!world.kernel.empty()) remove_queues(world.kernel, count);
}

void add_namespace_rows(const World& world, Report& report) {
  // A daemon that served nobody before: memory that is free again in the other one would hide what these need.
  const std::string scratch = world.scratch + "/many";
  mkdir(scratch.c_str(), 0755);
  const Child daemon = start_daemon(world.program, scratch);
  const Memory before = daemon_memory(daemon.pid());
  int64_t create_ns = 0;
  int64_t mount_ns = 0;
  for (int index = 0; index < world.namespaces; ++index) {
    const std::string name = "many" + std::to_string(index);
    const int64_t start = monotonic_ns();
    if (!run_program({world.program, "ns", "create", name})) fail("mqueuefs ns create " + name);
    const int64_t created = monotonic_ns();
    if (!mount_namespace(world.program, name, scratch + "/" + name)) fail("mounting " + name);
    mount_ns += monotonic_ns() - created;
    create_ns += created - start;
  }
  const Memory after = daemon_memory(daemon.pid());
  // Each is a file system of its own that works.
  for (int index = 0; index < world.namespaces; ++index) {
    const std::string dir = scratch + "/many" + std::to_string(index);
    const int fd = open((dir + "/q" + std::to_string(index)).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct stat root{};
    if (fd < 0 || stat(dir.c_str(), &root) != 0 || root.st_size != 60) fail("a queue in " + dir);
    close(fd);
    unlink((dir + "/q" + std::to_string(index)).c_str());
  }
  const std::string many = std::to_string(world.namespaces) + " namespaces: ";
  const auto each = [&](const std::string& what, const std::string& unit, double value) {
    Row row;
    row.what = many + what;
    row.unit = unit;
    row.mqueuefs = value;
    report.rows.push_back(row);
  };
  each("create one", "ms", static_cast<double>(create_ns) / world.namespaces / 1e6);
  each("mount one", "ms", static_cast<double>(mount_ns) / world.namespaces / 1e6);
  each("memory of one, mounted", "KiB", static_cast<double>(after.bytes - before.bytes) / world.namespaces / 1024);
  report.rows.back().target = "works";
  report.rows.back().reached = true;
  report.rows.back().note = "times include starting the command; a queue was created in each";
  for (int index = 0; index < world.namespaces; ++index) {
    umount2((scratch + "/many" + std::to_string(index)).c_str(), MNT_DETACH);
  }
}

}  // namespace mqueuefs::bench
