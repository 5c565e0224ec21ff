// doc/behaviour.md B10..B12: which of a queue's and the root's times move with what.
//
// Times have whole seconds, so a test sets them back (atime and mtime far, ctime to now), lets the next
// second begin, acts, and looks. Many cases share that second.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "support/child.h"
#include "support/expect.h"
#include "support/files.h"
#include "support/target.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Times : public TargetTest {};

constexpr time_t kLongAgo = 1'000'000;

// Remembers a file's times after setting them back.
class Watched {
 public:
  explicit Watched(const std::string& path, time_t atime = kLongAgo) : atime_(atime) {
    const timespec times[2] = {{atime, 0}, {kLongAgo, 0}};
    EXPECT_OK(utimensat(AT_FDCWD, path.c_str(), times, 0)) << path;
    ctime_ = status_of(path).st_ctime;
    EXPECT_EQ(atime, status_of(path).st_atime);
    EXPECT_EQ(kLongAgo, status_of(path).st_mtime);
  }
  // Those of the letters a, m, c whose time is another now.
  std::string moved(const struct stat& status) const {
    return std::string(status.st_atime != atime_ ? "a" : "") + (status.st_mtime != kLongAgo ? "m" : "") +
           (status.st_ctime != ctime_ ? "c" : "");
  }
  void wait_for_the_next_second() const {
    EXPECT_TRUE(wait_until([&] { return file_time_now_s() > ctime_; }));
  }

 private:
  time_t atime_, ctime_;
};

TEST_F(Times, B10_WholeSecondsOnly) {
  in_new_namespace([](const std::string& dir) {
    const std::string a = dir + "/a";
    const UniqueFd fd(open_queue("a", O_RDWR | O_CREAT));
    ASSERT_OK(send(fd.get(), "x"));
    for (const std::string& path : {dir, a}) {
      const struct stat status = status_of(path);
      EXPECT_EQ(0, status.st_atim.tv_nsec);
      EXPECT_EQ(0, status.st_mtim.tv_nsec);
      EXPECT_EQ(0, status.st_ctim.tv_nsec);
      EXPECT_NEAR(static_cast<double>(time(nullptr)), static_cast<double>(status.st_mtime), 60);
      const timespec times[2] = {{1000, 999'999'999}, {2000, 1}};
      ASSERT_OK(utimensat(AT_FDCWD, path.c_str(), times, 0));
      const struct stat set = status_of(path);
      EXPECT_EQ(1000, set.st_atim.tv_sec);
      EXPECT_EQ(0, set.st_atim.tv_nsec);
      EXPECT_EQ(2000, set.st_mtim.tv_sec);
      EXPECT_EQ(0, set.st_mtim.tv_nsec);
    }
  });
}

struct QueueCase {
  const char* what;
  const char* moves;  // of "amc"
  std::function<void(int fd, const std::string& path)> act;
  std::function<void(int fd)> prepare = [](int) {};
};

const sigevent& none_event() {
  static const sigevent event = [] {
    sigevent e{};
    e.sigev_notify = SIGEV_NONE;
    return e;
  }();
  return event;
}

void register_none(int fd) {
  ASSERT_OK(notify(fd, &none_event()));
}
void send_one(int fd) {
  ASSERT_OK(send(fd, "x"));
}
void fill(int fd) {
  ASSERT_OK(send(fd, "x"));
  ASSERT_OK(send(fd, "y"));
}

const QueueCase kQueueCases[] = {
    {"send", "amc", [](int fd, auto&) { EXPECT_OK(send(fd, "x")); }},
    {"receive", "amc", [](int fd, auto&) { EXPECT_EQ("x", receive_text(fd)); }, send_one},
    {"send EAGAIN", "", [](int fd, auto&) { EXPECT_ERRNO(EAGAIN, send(fd, "z")); }, fill},
    {"receive EAGAIN", "", [](int fd, auto&) { EXPECT_EQ("<EAGAIN>", receive_text(fd)); }},
    {"send EMSGSIZE", "", [](int fd, auto&) { EXPECT_ERRNO(EMSGSIZE, send(fd, std::string(65, 'x'))); }},
    {"send EINVAL", "", [](int fd, auto&) { EXPECT_ERRNO(EINVAL, send(fd, "x", 32768)); }},
    {"receive EMSGSIZE", "",
     [](int fd, auto&) {
       char buffer[8];
       EXPECT_ERRNO(EMSGSIZE, receive(fd, buffer, sizeof buffer));
     },
     send_one},
    {"read", "ac",
     [](int fd, auto&) {
       char text[100];
       EXPECT_EQ(60, read(fd, text, sizeof text));
     }},
    {"read at the end", "",
     [](int fd, auto&) {
       char text[100];
       EXPECT_EQ(0, pread(fd, text, sizeof text, 60));
     }},
    {"getattr", "",
     [](int fd, auto&) {
       mq_attr attributes;
       EXPECT_OK(get_attributes(fd, &attributes));
     }},
    {"setattr", "ac",
     [](int fd, auto&) {
       mq_attr attributes{};
       EXPECT_OK(set_attributes(fd, &attributes));
     }},
    {"setattr EINVAL", "",
     [](int fd, auto&) {
       mq_attr attributes{};
       attributes.mq_flags = O_APPEND;
       EXPECT_ERRNO(EINVAL, set_attributes(fd, &attributes));
     }},
    {"notify: register", "ac", [](int fd, auto&) { EXPECT_OK(notify(fd, &none_event())); }},
    {"notify: unregister", "ac", [](int fd, auto&) { EXPECT_OK(notify(fd, nullptr)); }, register_none},
    {"notify: nothing to unregister", "", [](int fd, auto&) { EXPECT_OK(notify(fd, nullptr)); }},
    {"notify: EBUSY", "", [](int fd, auto&) { EXPECT_ERRNO(EBUSY, notify(fd, &none_event())); },
     register_none},
    {"open and close", "",
     [](int, auto& path) { EXPECT_OK(UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)).get()); }},
    {"a close that unregisters", "",
     [](int, auto& path) { EXPECT_OK(UniqueFd(open(path.c_str(), O_RDWR | O_CLOEXEC)).get()); },
     register_none},
    {"poll and seek", "",
     [](int fd, auto&) {
       pollfd ready{fd, POLLIN | POLLOUT, 0};
       EXPECT_EQ(1, poll(&ready, 1, 0));
       EXPECT_EQ(80, lseek(fd, 0, SEEK_END));
     }},
    {"write EINVAL, fsync EINVAL, flock", "",
     [](int fd, auto&) {
       EXPECT_ERRNO(EINVAL, write(fd, "x", 1));
       EXPECT_ERRNO(EINVAL, fsync(fd));
       EXPECT_OK(flock(fd, LOCK_EX));
     }},
    {"chmod", "c", [](int, auto& path) { EXPECT_OK(chmod(path.c_str(), 0640)); }},
    {"chown", "c", [](int, auto& path) { EXPECT_OK(chown(path.c_str(), 1, 1)); }},
    // By its path, and without being opened: the VFS asks for no times then (doc/behaviour.md B6).
    {"truncate", "", [](int, auto& path) { EXPECT_OK(truncate(path.c_str(), 5)); }},
    {"ftruncate", "mc", [](int fd, auto&) { EXPECT_OK(ftruncate(fd, 5)); }},
    {"open(O_TRUNC)", "mc",
     [](int, auto& path) { EXPECT_OK(UniqueFd(open(path.c_str(), O_RDWR | O_TRUNC | O_CLOEXEC)).get()); }},
    {"mq_open", "",
     [](int, auto& path) {
       EXPECT_OK(UniqueFd(open_queue(path.substr(path.rfind('/') + 1), O_RDWR | O_CREAT | O_TRUNC)).get());
     }},
    {"unlink", "", [](int, auto& path) { EXPECT_OK(unlink(path.c_str())); }},
};

TEST_F(Times, B11_WhatMovesTheTimesOfAQueue) {
  in_new_namespace([](const std::string& dir) {
    struct Running {
      const QueueCase* queue_case;
      std::string path;
      UniqueFd fd;
      Watched watched;
    };
    std::vector<Running> running;
    for (const QueueCase& queue_case : kQueueCases) {
      const std::string name = "q" + std::to_string(running.size());
      UniqueFd fd(create_queue(name, 2, 64, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK));
      ASSERT_OK(fd.get());
      queue_case.prepare(fd.get());
      running.push_back({&queue_case, dir + "/" + name, std::move(fd), Watched(dir + "/" + name)});
    }
    running.back().watched.wait_for_the_next_second();
    for (const Running& one : running)
      one.queue_case->act(one.fd.get(), one.path);
    for (const Running& one : running) {
      struct stat status {};
      ASSERT_OK(fstat(one.fd.get(), &status));
      EXPECT_EQ(one.queue_case->moves, one.watched.moved(status)) << one.queue_case->what;
    }
  });
}

TEST_F(Times, B11_BlockingMovesNothingBeingServedDoes) {
  in_new_namespace([](const std::string& dir) {
    const UniqueFd empty(create_queue("empty", 1, 64)), full(create_queue("full", 1, 64));
    ASSERT_OK(send(full.get(), "first"));
    const Watched empty_times(dir + "/empty"), full_times(dir + "/full");
    full_times.wait_for_the_next_second();
    Companion receiver([&] { EXPECT_EQ("x", receive_text(empty.get())); });
    Companion sender([&] { EXPECT_OK(send(full.get(), "second")); });
    ASSERT_TRUE(wait_until_asleep(receiver.pid()));
    ASSERT_TRUE(wait_until_asleep(sender.pid()));
    EXPECT_EQ("", empty_times.moved(status_of(dir + "/empty")));
    EXPECT_EQ("", full_times.moved(status_of(dir + "/full")));
    EXPECT_OK(send(empty.get(), "x"));
    EXPECT_EQ("first", receive_text(full.get()));
    receiver.join();
    sender.join();
    EXPECT_EQ("amc", empty_times.moved(status_of(dir + "/empty")));
    EXPECT_EQ("amc", full_times.moved(status_of(dir + "/full")));
  });
}

struct RootCase {
  const char* what;
  const char* moves;
  std::function<void(const std::string& dir)> act;
  time_t atime = kLongAgo;
};

void list(const std::string& dir) {
  DIR* directory = opendir(dir.c_str());
  ASSERT_NE(nullptr, directory);
  while (readdir(directory) != nullptr) {
  }
  closedir(directory);
}

// Each finds a queue named `old`.
const RootCase kRootCases[] = {
    {"create by open", "amc",
     [](auto& dir) {
       EXPECT_OK(UniqueFd(open((dir + "/new").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)).get());
     }},
    {"create by mknod", "amc",
     [](auto& dir) { EXPECT_OK(mknod((dir + "/new").c_str(), S_IFREG | 0600, 0)); }},
    {"create by mq_open", "amc",
     [](auto&) { EXPECT_OK(UniqueFd(open_queue("new", O_RDWR | O_CREAT)).get()); }},
    {"unlink", "amc", [](auto& dir) { EXPECT_OK(unlink((dir + "/old").c_str())); }},
    {"mq_unlink", "amc", [](auto&) { EXPECT_OK(unlink_queue("old")); }},
    {"readdir", "a", [](auto& dir) { list(dir); }},
    // relatime, a mount's default, leaves an atime alone that is newer than the other two and not a day old.
    {"readdir, relatime", "", [](auto& dir) { list(dir); }, time(nullptr) + 1000},
    {"look-ups and what changes the queue only", "",
     [](auto& dir) {
       const std::string old = dir + "/old";
       EXPECT_OK(UniqueFd(open(old.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)).get());
       const UniqueFd fd(open_queue("old", O_RDWR | O_CREAT));
       EXPECT_OK(send(fd.get(), "x"));
       EXPECT_OK(chmod(old.c_str(), 0666));
       EXPECT_OK(ftruncate(fd.get(), 5));
       EXPECT_ERRNO(ENOENT, access((dir + "/missing").c_str(), F_OK));
     }},
    {"what fails", "",
     [](auto& dir) {
       EXPECT_ERRNO(EEXIST, open((dir + "/old").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
       EXPECT_ERRNO(EEXIST, open_queue("old", O_RDWR | O_CREAT | O_EXCL));
       EXPECT_ERRNO(EINVAL, create_queue("new", -1, 10));
       EXPECT_ERRNO(EPERM, mkdir((dir + "/new").c_str(), 0700));
       EXPECT_ERRNO(EPERM, rename((dir + "/old").c_str(), (dir + "/new").c_str()));
       EXPECT_ERRNO(ENOENT, unlink((dir + "/missing").c_str()));
     }},
};

TEST_F(Times, B12_WhatMovesTheTimesOfTheRoot) {
  std::vector<std::unique_ptr<TempDir>> dirs;
  std::vector<std::unique_ptr<Companion>> companions;
  for (const RootCase& root_case : kRootCases) {
    dirs.push_back(std::make_unique<TempDir>());
    companions.push_back(std::make_unique<Companion>([&root_case, dir = dirs.back()->path()] {
      SCOPED_TRACE(root_case.what);
      enter_new_namespace(dir);
      ASSERT_OK(UniqueFd(open_queue("old", O_RDWR | O_CREAT)).get());
      const Watched watched(dir, root_case.atime);
      watched.wait_for_the_next_second();
      root_case.act(dir);
      EXPECT_EQ(root_case.moves, watched.moved(status_of(dir)));
    }));
  }
  companions.clear();
}

}  // namespace
}  // namespace mqueuefs::test
