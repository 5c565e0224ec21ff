// The commands as a user types them: what they print, their exit codes, the one line that says why.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/temp_dir.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class Commands : public ProgramTest {
 protected:
  static void expect_prints(const std::vector<std::string>& arguments, const std::string& expected,
                            const std::string& stdin_text = "") {
    const CommandResult result = program(arguments, stdin_text);
    EXPECT_EQ(result.status, 0) << testing::PrintToString(arguments) << "\n" << result.stderr_text;
    EXPECT_EQ(result.stdout_text, expected) << testing::PrintToString(arguments);
    EXPECT_EQ(result.stderr_text, "");
  }

  static void expect_fails(const std::vector<std::string>& arguments, const std::string& why, int status = 1,
                           const std::string& stdin_text = "") {
    const CommandResult result = program(arguments, stdin_text);
    EXPECT_EQ(result.status, status) << testing::PrintToString(arguments);
    EXPECT_EQ(result.stdout_text, "");
    EXPECT_EQ(result.stderr_text, "mqueuefs: " + why + "\n");
  }
};

// In this mount namespace alone.
bool open_dev_fuse_to_all(const TempDir& dir) {
  struct stat device {};
  if (stat("/dev/fuse", &device) != 0) return false;
  if ((device.st_mode & 0666) == 0666) return true;
  const std::string copy = dir / "fuse";
  const mode_t mask = umask(0);
  const bool made = mknod(copy.c_str(), S_IFCHR | 0666, device.st_rdev) == 0;
  umask(mask);
  if (!made || mount(copy.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) != 0) return false;
  return UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC)).get() >= 0;
}

// A command that is still running: its standard output can be read as it comes.
class Running {
 public:
  explicit Running(std::vector<std::string> arguments) {
    int ends[2];
    EXPECT_OK(pipe2(ends, O_CLOEXEC));
    out_.reset(ends[0]);
    UniqueFd write_end(ends[1]);
    arguments.insert(arguments.begin(), mqueuefs_program());
    pid_ = fork();
    if (pid_ == 0) {
      dup2(write_end.get(), STDOUT_FILENO);
      std::vector<char*> argv;
      for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }
  ~Running() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t pid() const { return pid_; }
  void close_output() { out_.reset(); }
  std::string read_line() {
    std::string line;
    for (char c; read(out_.get(), &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }
  int wait() {
    int status = 0;
    EXPECT_OK(waitpid(std::exchange(pid_, -1), &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  UniqueFd out_;
};

// The list shows `text` somewhere: used to wait for a state that only the daemon knows.
bool list_shows(const std::string& text) {
  return run_command({mqueuefs_program(), "list"}).stdout_text.find(text) != std::string::npos;
}

TEST_F(Commands, MessagesGoInAndComeOut) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "/q"}, "");
    expect_prints({"send", "q", "first"}, "");
    expect_prints({"send", "-p", "7", "/q", "urgent"}, "");
    expect_prints({"send", "/q"}, "", "from stdin\nin one piece");
    expect_prints({"send", "/q", ""}, "");
    expect_prints({"receive", "/q"}, "urgent\n");
    expect_prints({"receive", "--show-priority", "-n", "2", "/q"}, "0\tfirst\n0\tfrom stdin\nin one piece\n");
    expect_prints({"receive", "--json", "/q"}, "{\"priority\":0,\"size\":0,\"text\":\"\"}\n");
    expect_prints({"receive", "--all", "/q"}, "");
    expect_prints({"remove", "/q"}, "");
  });
}

TEST_F(Commands, LinesAreMessages) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "/q"}, "");
    expect_prints({"send", "--lines", "/q"}, "", "one\n\nthree\r\n[four]");
    expect_prints({"receive", "--all", "/q"}, "one\n\nthree\r\n[four]\n");
  });
}

TEST_F(Commands, BinaryAndLargeMessagesArriveAsTheyWere) {
  in_private_namespaces([&](const std::string&) {
    std::string large;
    for (int i = 0; i < 600'000; ++i) large += static_cast<char>(i * 7 + i / 256);
    ASSERT_EQ(program({"limits", "msgsize_max=700000"}).status, 0);
    expect_prints({"create", "--maxmsg", "1", "--msgsize", "700000", "/q"}, "");
    expect_prints({"send", "/q"}, "", large);
    EXPECT_NE(program({"peek", "--json", "/q"}).stdout_text.find("\"size\":600000,\"data\":\"AAcO"),
              std::string::npos);
    // Not EXPECT_EQ, which would print them.
    EXPECT_TRUE(program({"receive", "--raw", "/q"}).stdout_text == large);
    // Through a waiter, too.
    Running waiting({"receive", "--json", "/q"});
    ASSERT_TRUE(wait_until([] { return list_shows("1 receiver"); }));
    expect_prints({"send", "/q"}, "", std::string(20000, 'x'));
    EXPECT_TRUE(waiting.read_line() ==
                "{\"priority\":0,\"size\":20000,\"text\":\"" + std::string(20000, 'x') + "\"}");
    EXPECT_EQ(waiting.wait(), 0);
  });
}

TEST_F(Commands, PeekTakesNothing) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "/q"}, "");
    expect_prints({"send", "/q", "low\x01"}, "");
    expect_prints({"send", "-p", "9", "/q", "\xFF"}, "");
    const std::string table =
        "PRIORITY      SIZE  MESSAGE\n"
        "       9         1  \\xff\n"
        "       0         4  low\\x01\n";
    expect_prints({"peek", "/q"}, table);
    expect_prints({"peek", "/q"}, table);
    expect_prints({"peek", "--json", "/q"},
                  "[\n  {\"priority\":9,\"size\":1,\"data\":\"/w==\"},\n"
                  "  {\"priority\":0,\"size\":4,\"text\":\"low\\u0001\"}\n]\n");
    expect_prints({"create", "/empty"}, "");
    expect_prints({"peek", "--json", "/empty"}, "[]\n");
  });
}

TEST_F(Commands, ListShowsQueuesAndWhoWaits) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "--maxmsg", "2", "--msgsize", "10", "--mode", "0640", "/b"}, "");
    expect_prints({"create", "--mode", "600", "/a"}, "");
    expect_prints({"send", "/b", "12345"}, "");
    expect_prints({"list"},
                  "NAME  MESSAGES  BYTES  MAXMSG  MSGSIZE  MODE  OWNER  WAITING  NOTIFY\n"
                  "/a           0      0      10     8192  0600  root   -        -\n"
                  "/b           1      5       2       10  0640  root   -        -\n");
    Running waiting({"receive", "/a"});
    EXPECT_TRUE(wait_until([&] { return list_shows("1 receiver (pid " + std::to_string(waiting.pid()) + ")"); }));
    expect_prints({"send", "/a", "x"}, "");
    EXPECT_EQ(waiting.read_line(), "x");
    EXPECT_EQ(waiting.wait(), 0);
    EXPECT_NE(program({"stat", "/b"}).stdout_text.find("messages:       1 of 2\n"), std::string::npos);
    EXPECT_NE(program({"stat", "--json", "/b"}).stdout_text.find("\"mode\": \"0640\""), std::string::npos);
  });
}

TEST_F(Commands, FailuresSayWhatAndWhichLimit) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "--maxmsg", "1", "--msgsize", "3", "/q"}, "");
    expect_fails({"create", "/q"}, "create /q: a queue of that name exists (EEXIST)");
    expect_fails({"create", "--maxmsg", "0", "/r"}, "create /r: maxmsg 0 is not positive (EINVAL)");
    expect_fails({"create", "--msgsize", "99999999", "/r"},
                 "create /r: msgsize 99999999 is over the limit HARD_MSGSIZEMAX 16777216 (EINVAL)");
    expect_fails({"create", "/a/b"}, "create /a/b: a name can't have a '/' but at its front (EACCES)");
    expect_fails({"create", "/"}, "create /: the name is empty (ENOENT)");
    expect_fails({"create", "--ns", "nowhere", "/q"},
                 "create /q in namespace nowhere: no namespace called nowhere (ENOENT)");
    expect_fails({"list", "--ns", "nowhere"}, "list in namespace nowhere: no namespace called nowhere (ENOENT)");
    expect_fails({"send", "/none", "x"}, "send /none: no such queue (ENOENT)");
    expect_fails({"stat", "/none"}, "stat /none: no such queue (ENOENT)");
    expect_fails({"remove", "/none"}, "remove /none: no such queue (ENOENT)");
    expect_fails({"send", "/q", "four"}, "send /q: the message has 4 bytes, over the queue's msgsize 3 (EMSGSIZE)");
    expect_fails({"send", "/q"}, "send /q: the message has 4 bytes, over the queue's msgsize 3 (EMSGSIZE)", 1, "four");
    expect_fails({"send", "-p", "32768", "/q", "x"}, "send /q: priority 32768 is not in 0 to 32767 (EINVAL)");
    expect_fails({"receive", "--nonblock", "/q"}, "receive /q: the queue is empty (EAGAIN)");
    expect_fails({"receive", "--timeout", "0.01", "/q"}, "receive /q: no message within 0.01 seconds (ETIMEDOUT)");
    expect_prints({"send", "/q", "x"}, "");
    expect_fails({"send", "--nonblock", "/q", "x"}, "send /q: the queue is full, its maxmsg is 1 (EAGAIN)");
    expect_fails({"send", "--lines", "--nonblock", "/q"},
                 "send line 1 to /q: the queue is full, its maxmsg is 1 (EAGAIN)", 1, "y\nz\n");
    expect_fails({"limits", "msg_max=0"}, "limits: msg_max 0 is not in 1 to 65536 (EINVAL)");
    expect_fails({"limits", "frobs=0"},
                 "limits: frobs is not a limit; there are queues_max, msg_max, msg_default, msgsize_max, "
                 "msgsize_default, msgmni, msgmax, msgmnb, semmsl, semmns, semopm, semmni, shmmni, shmmax, shmall, "
                 "msg_next_id, sem_next_id, shm_next_id (ENOENT)");
  });
}

TEST_F(Commands, OrdinaryUserIsToldWhichLimitStopsHim) {
  in_private_namespaces([&](const std::string&) {
    ASSERT_EQ(program({"limits", "queues_max=3"}).status, 0);
    ASSERT_TRUE(become_user(kAlice, kAlice));
    expect_fails({"create", "--msgsize", "9000", "/q"},
                 "create /q: msgsize 9000 is over the limit msgsize_max 8192; mqueuefs limits msgsize_max=N raises it (EINVAL)");
    expect_fails({"create", "--maxmsg", "11", "/q"},
                 "create /q: maxmsg 11 is over the limit msg_max 10; mqueuefs limits msg_max=N raises it (EINVAL)");
    const rlimit limit{100'000, 100'000};
    ASSERT_OK(setrlimit(RLIMIT_MSGQUEUE, &limit));
    expect_prints({"create", "/one"}, "");
    expect_fails({"create", "/two"},
                 "create /two: the queue would be charged 82880 bytes, 82880 are in use, and the limit "
                 "RLIMIT_MSGQUEUE (ulimit -q) is 100000; make it smaller or raise that (EMFILE)");
    expect_prints({"create", "--maxmsg", "1", "--msgsize", "1", "/two"}, "");
    expect_prints({"create", "--maxmsg", "1", "--msgsize", "1", "/three"}, "");
    expect_fails({"create", "--maxmsg", "1", "--msgsize", "1", "/four"},
                 "create /four: 3 queues are there, and the limit queues_max is 3; mqueuefs limits queues_max=N raises it (ENOSPC)");
    expect_fails({"limits", "msg_max=20"}, "limits: only the namespace's owner and root may (EPERM)");
  });
}

TEST_F(Commands, InterruptedReceiveTakesNothing) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "/q"}, "");
    for (const int signal : {SIGINT, SIGTERM}) {
      Running waiting({"receive", "--follow", "/q"});
      ASSERT_TRUE(wait_until([] { return list_shows("1 receiver"); }));
      expect_prints({"send", "/q", "before"}, "");
      EXPECT_EQ(waiting.read_line(), "before");
      ASSERT_TRUE(wait_until([] { return list_shows("1 receiver"); }));
      ASSERT_OK(kill(waiting.pid(), signal));
      EXPECT_EQ(waiting.wait(), 128 + signal);
      expect_prints({"send", "/q", "after"}, "");
      expect_prints({"receive", "--nonblock", "/q"}, "after\n");
    }
  });
}

TEST_F(Commands, ReaderThatIsGoneCostsAtMostTheMessageThatIsNamed) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"create", "/q"}, "");
    for (const char* text : {"1", "2", "3"}) expect_prints({"send", "/q", text}, "");
    Running gone({"receive", "--follow", "/q"});
    gone.close_output();
    EXPECT_EQ(gone.wait(), 1);
    // Whichever was on its way when the reader went is lost; what was not begun stays.
    const std::string left = program({"receive", "--all", "/q"}).stdout_text;
    EXPECT_TRUE(left.ends_with("2\n3\n") || left.ends_with("3\n") || left.empty());
    expect_prints({"send", "/q", "x"}, "");
    const CommandResult full =
        run_command({"sh", "-c", "exec \"$0\" receive /q > /dev/full", mqueuefs_program()});
    EXPECT_EQ(full.status, 1);
    EXPECT_EQ(full.stderr_text,
              "mqueuefs: receive /q: a message of 1 bytes and priority 0 was taken but could not be written: No "
              "space left on device (ENOSPC)\n");
  });
}

TEST_F(Commands, NamedNamespacesAreSeparateAndShared) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"ns", "create", "red"}, "");
    expect_fails({"ns", "create", "red"}, "ns create red: a namespace of that name exists (EEXIST)");
    expect_prints({"create", "--ns", "red", "/q"}, "");
    expect_prints({"send", "--ns", "red", "/q", "in red"}, "");
    expect_fails({"stat", "/q"}, "stat /q: no such queue (ENOENT)");
    expect_prints({"enter", "red", "--", mqueuefs_program(), "receive", "--nonblock", "/q"}, "in red\n");
    expect_prints({"unshare", "--name", "blue", "--", mqueuefs_program(), "create", "/r"}, "");
    EXPECT_NE(program({"list", "--ns", "blue"}).stdout_text.find("/r "), std::string::npos);
    expect_fails({"unshare", "--name", "blue", "--", "true"}, "unshare in namespace blue: a namespace of that name exists (EEXIST)");
    expect_fails({"enter", "green", "--", "true"}, "enter in namespace green: no namespace called green (ENOENT)");
    EXPECT_NE(program({"ns", "list"}).stdout_text.find("  red   root "), std::string::npos);
    expect_prints({"ns", "remove", "red"}, "");
    expect_prints({"ns", "remove", "blue"}, "");
    expect_fails({"ns", "remove", "blue"}, "ns remove blue: no namespace called blue (ENOENT)");
  });
}

TEST_F(Commands, BindMakesTheCallersNamespaceTheNamedOne) {
  in_private_namespaces([&](const std::string&) {
    expect_prints({"ns", "create", "shared"}, "");
    expect_prints({"create", "--ns", "shared", "/q"}, "");
    expect_prints({"ns", "bind", "shared"}, "");
    expect_prints({"send", "/q", "through my own"}, "");
    expect_prints({"receive", "--ns", "shared", "/q"}, "through my own\n");
    expect_fails({"ns", "bind", "shared", "--pid", "4194304"}, "ns bind shared: no process 4194304 (ESRCH)");
    expect_prints({"ns", "remove", "shared"}, "");
  });
}

TEST_F(Commands, CommandsExitCodeIsTheirs) {
  in_private_namespaces([&](const std::string&) {
    EXPECT_EQ(program({"unshare", "--", "sh", "-c", "exit 7"}).status, 7);
    EXPECT_EQ(program({"unshare", "--", "/no/such/program"}).status, 127);
    EXPECT_EQ(program({"unshare", "--", "/"}).status, 126);
    EXPECT_EQ(program({"frobnicate"}).status, 2);
    EXPECT_EQ(program({"--help"}).status, 0);
    EXPECT_EQ(program({"receive", "--help"}).status, 0);
  });
}

// An ordinary user with no daemon of the system's starts his own, which does all that is his.
TEST_F(Commands, OrdinaryUserHasADaemonOfHisOwn) {
  in_private_namespaces([&](const std::string&) {
    // Some machines keep /dev/fuse for root.
    const TempDir dir;
    ASSERT_OK(chown(dir.path().c_str(), kAlice, kAlice));
    if (!open_dev_fuse_to_all(dir)) GTEST_SKIP() << "ordinary users can't open /dev/fuse";
    setenv("MQUEUEFS_SOCKET", (dir / "mqueuefs.sock").c_str(), 1);
    run_as(kAlice, [] {
      expect_prints({"ns", "create", "mine"}, "");
      expect_prints({"create", "--ns", "mine", "/q"}, "");
      expect_prints({"send", "--ns", "mine", "/q", "hello"}, "");
      expect_prints({"receive", "--ns", "mine", "/q"}, "hello\n");
      expect_prints({"send", "--ns", "mine", "/q", "hello again"}, "");
      if (CapabilityCheck::can_unshare_user()) {
        const TempDir mount;
        const std::string script = "ls " + mount.path() + " && \"$0\" receive --nonblock /q";
        expect_prints({"enter", "mine", "--mount=" + mount.path(), "--", "sh", "-c", script, mqueuefs_program()},
                      "q\nhello again\n");
      }
      expect_prints({"ns", "remove", "mine"}, "");
    });
  });
}

}  // namespace
}  // namespace mqueuefs::test
