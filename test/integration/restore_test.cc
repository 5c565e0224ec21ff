// What the change of ids was proposed for: a set of programs is started anew, in an empty namespace and in another order,
// and each of their objects gets the id back that the programs remember.
//
// A checkpoint of processes is left out: the programs (programs/restored_program.c) are told their old ids, as one whose
// memory was restored would still have them. If they made new objects under those ids they would find each other's.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "integration/program_fixture.h"
#include "support/expect.h"
#include "support/run_command.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

constexpr int kPatienceMs = 20'000;
const std::vector<std::string> kKinds = {"msg", "sem", "shm"};

std::string built(const std::string& place) {
  const auto build = std::filesystem::absolute(mqueuefs_program()).parent_path().parent_path().parent_path();
  return (build / place).string();
}

// A program under `mqueuefs run`, spoken to by lines; killed with this object.
class RunningProgram {
 public:
  RunningProgram(const std::string& namespace_name, const std::string& name) {
    int in[2], out[2];
    EXPECT_OK(pipe2(in, O_CLOEXEC));
    EXPECT_OK(pipe2(out, O_CLOEXEC));
    const std::string mqueuefs = mqueuefs_program(), program = built("test/restored_program");
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(in[0], 0);
      dup2(out[1], 1);
      execl(mqueuefs.c_str(), mqueuefs.c_str(), "run", "--ns", namespace_name.c_str(), "--", program.c_str(),
            name.c_str(), nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_.reset(in[1]);
    from_.reset(out[0]);
  }
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;
  ~RunningProgram() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  void say(const std::string& line) {
    EXPECT_EQ(static_cast<ssize_t>(line.size() + 1), write(to_.get(), (line + "\n").c_str(), line.size() + 1));
  }
  std::string line() {
    std::string text;
    const int64_t deadline_ms = monotonic_ms() + kPatienceMs;
    for (char byte; monotonic_ms() < deadline_ms;) {
      pollfd ready{from_.get(), POLLIN, 0};
      if (poll(&ready, 1, 100) <= 0) continue;
      if (read(from_.get(), &byte, 1) != 1) return text + "<end>";
      if (byte == '\n') return text;
      text += byte;
    }
    return text + "<nothing more>";
  }
  std::string ask(const std::string& line_to_say) {
    say(line_to_say);
    return line();
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  UniqueFd to_, from_;
};

// The ids of a program's objects, by kind.
using Ids = std::map<std::string, int>;

Ids ids_of(const std::string& line) {
  Ids ids;
  EXPECT_EQ(3, sscanf(line.c_str(), "%d %d %d", &ids["msg"], &ids["sem"], &ids["shm"])) << line;
  return ids;
}
std::string check_of(const Ids& ids) {
  return "check " + std::to_string(ids.at("msg")) + " " + std::to_string(ids.at("sem")) + " " +
         std::to_string(ids.at("shm"));
}

// Programs in a namespace, and the ids that their objects were made with.
struct Set {
  std::map<std::string, std::unique_ptr<RunningProgram>> programs;
  std::map<std::string, Ids> ids;
  void start(const std::string& namespace_name, const std::string& name) {
    programs[name] = std::make_unique<RunningProgram>(namespace_name, name);
    ids[name] = ids_of(programs[name]->line());
  }
};

class Restore : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (program({"ipc", "--help"}).status != 0) GTEST_SKIP() << "no `mqueuefs ipc`";
    if (!std::filesystem::exists(built("test/restored_program"))) GTEST_SKIP() << "no test/restored_program";
  }

  static void must(const std::vector<std::string>& command) {
    const CommandResult result = program(command);
    EXPECT_EQ(0, result.status) << result.stderr_text;
  }

  // Namespaces with names stay until they are removed, and the daemon with them.
  void in_two_lives(const std::function<void()>& body) {
    in_private_namespaces([&](const std::string&) {
      body();
      must({"ns", "remove", "before"});
      must({"ns", "remove", "after"});
    });
  }

  // The first life: their ids, each used. What comes before it is made and removed: the ids are not the first ones.
  static std::map<std::string, Ids> run_and_save(const std::vector<std::string>& names) {
    must({"ns", "create", "before"});
    must({"ipc", "--ns", "before", "next-id", "sem", "98305"});  // 3 * 32768 + 1
    Set set;
    for (const std::string& name : names)
      set.start("before", name);
    for (const std::string& name : names)
      EXPECT_EQ(name, set.programs[name]->ask(check_of(set.ids[name])));
    return set.ids;
  }

  // Their second life has begun: `now` are the ids that their objects have; back to `before`, in one step a kind.
  static void give_back_by_command(const std::map<std::string, Ids>& before, const std::map<std::string, Ids>& now) {
    for (const std::string& kind : kKinds) {
      std::vector<std::string> command = {"ipc", "--ns", "after", "permute", kind};
      for (const auto& [name, ids] : now) {
        if (ids.at(kind) == before.at(name).at(kind)) continue;
        command.push_back(std::to_string(ids.at(kind)) + "=" + std::to_string(before.at(name).at(kind)));
      }
      if (command.size() > 5) must(command);
    }
  }

  static void expect_they_work(Set& set, const std::map<std::string, Ids>& before) {
    for (auto& [name, program] : set.programs)
      EXPECT_EQ(name, program->ask(check_of(before.at(name))));
  }
};

TEST_F(Restore, StartedInAnotherOrderEachGetsItsIdsBack) {
  in_two_lives([] {
    const auto before = run_and_save({"anna", "berta", "clara", "dora"});
    must({"ns", "create", "after"});
    Set set;
    for (const char* name : {"clara", "anna", "dora", "berta"})
      set.start("after", name);
    EXPECT_NE(before.at("anna"), set.ids.at("anna"));
    give_back_by_command(before, set.ids);
    expect_they_work(set, before);
    for (const std::string& kind : kKinds) {
      const CommandResult list = program({"ipc", "--ns", "after", "list", "--json", kind});
      std::map<int, int> ids_by_key;
      for (const auto& object : nlohmann::json::parse(list.stdout_text, nullptr, false))
        ids_by_key[object.value("key", 0)] = object.value("id", -1);
      EXPECT_EQ(4u, nlohmann::json::parse(list.stdout_text, nullptr, false).size()) << list.stdout_text;
    }
  });
}

TEST_F(Restore, TwoThatHaveEachOthersIdsExchangeThem) {
  in_two_lives([] {
    const auto before = run_and_save({"anna", "berta"});
    must({"ns", "create", "after"});
    must({"ipc", "--ns", "after", "next-id", "sem", "98305"});
    Set set;
    set.start("after", "berta");
    set.start("after", "anna");
    EXPECT_EQ(before.at("anna").at("msg"), set.ids.at("berta").at("msg")) << "A is B";
    EXPECT_EQ(before.at("berta").at("msg"), set.ids.at("anna").at("msg")) << "and B is A";
    set.start("after", "clara");
    // One after the other it can't be done: the other one is in the way.
    const CommandResult one = program({"ipc", "--ns", "after", "chid", "msg", std::to_string(set.ids.at("berta").at("msg")),
                                       std::to_string(before.at("berta").at("msg"))});
    EXPECT_EQ(1, one.status);
    EXPECT_NE(one.stderr_text.find("(EBUSY)"), std::string::npos) << one.stderr_text;
    std::map<std::string, Ids> both = set.ids;
    both.erase("clara");
    give_back_by_command(before, both);
    EXPECT_EQ("anna", set.programs["anna"]->ask(check_of(before.at("anna"))));
    EXPECT_EQ("clara", set.programs["clara"]->ask(check_of(set.ids.at("clara")))) << "the others keep theirs";
  });
}

TEST_F(Restore, WhoSleepsInAQueueSleepsOnUnderItsOldId) {
  in_two_lives([] {
    const auto before = run_and_save({"anna", "berta"});
    must({"ns", "create", "after"});
    Set set;
    set.start("after", "berta");
    set.start("after", "anna");
    for (const char* name : {"anna", "berta"}) {
      EXPECT_EQ("sleeping", set.programs[name]->ask("sleep " + std::to_string(set.ids[name].at("msg"))));
      EXPECT_TRUE(wait_until_asleep(set.programs[name]->pid()));
    }
    give_back_by_command(before, set.ids);
    // Somebody writes to the ids of the first life.
    RunningProgram writer("after", "writer");
    EXPECT_NE("", writer.line());
    for (const char* name : {"anna", "berta"}) {
      EXPECT_EQ("sent", writer.ask("send " + std::to_string(before.at(name).at("msg")) + " for_" + name));
      EXPECT_EQ("for_" + std::string(name), set.programs[name]->line());
    }
    expect_they_work(set, before);
  });
}

TEST_F(Restore, OneAfterTheOtherWithChosenIds) {
  in_two_lives([] {
    const auto before = run_and_save({"anna", "berta", "clara"});
    must({"ns", "create", "after"});
    Set set;
    for (const char* name : {"clara", "anna", "berta"}) {
      for (const std::string& kind : kKinds)
        must({"ipc", "--ns", "after", "next-id", kind, std::to_string(before.at(name).at(kind))});
      set.start("after", name);
      EXPECT_EQ(before.at(name), set.ids.at(name));
    }
    expect_they_work(set, before);
  });
}

struct IdPair {
  int id, new_id;
};

TEST_F(Restore, ByTheLibrary) {
  void* const library = dlopen(built("src/client/libmqueuefs.so.0").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(nullptr, library) << dlerror();
  const auto permute = reinterpret_cast<int (*)(const char*, int, const IdPair*, size_t)>(
      dlsym(library, "mqueuefs_ipc_permute"));
  const auto chid =
      reinterpret_cast<int (*)(const char*, int, int)>(dlsym(library, "mqueuefs_msg_chid"));
  ASSERT_TRUE(permute != nullptr && chid != nullptr);
  in_two_lives([&] {
    const auto before = run_and_save({"anna", "berta", "clara"});
    must({"ns", "create", "after"});
    Set set;
    for (const char* name : {"clara", "anna", "berta"})
      set.start("after", name);
    for (size_t kind = 0; kind < kKinds.size(); ++kind) {
      std::vector<IdPair> pairs;
      for (const auto& [name, ids] : set.ids)
        pairs.push_back({ids.at(kKinds[kind]), before.at(name).at(kKinds[kind])});
      // All or nothing.
      pairs.push_back({12345, 54321});
      EXPECT_ERRNO(EINVAL, permute("after", static_cast<int>(kind), pairs.data(), pairs.size()));
      pairs.pop_back();
      EXPECT_OK(permute("after", static_cast<int>(kind), pairs.data(), pairs.size()));
    }
    expect_they_work(set, before);
    const int id = before.at("anna").at("msg");
    EXPECT_OK(chid("after", id, id + 32768));
    EXPECT_ERRNO(EINVAL, chid("after", id, id));
    EXPECT_OK(chid("after", id + 32768, id));
    expect_they_work(set, before);
  });
}

}  // namespace
}  // namespace mqueuefs::test
