// What the contract tests run against: the kernel's message queues first (the oracle), then ours.
//
// One binary; $MQUEUEFS_TEST_TARGET = kernel | mqueuefs (the default) | preload | library | seccomp chooses; the last
// four differ in whose mq_* calls are made (posix_calls.h). A test knows which only where a difference is
// deliberate, and says so with MQ_DIFFERENCE.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "support/queue_calls.h"
#include "support/run_command.h"

namespace mqueuefs::test {

struct MountRequest {
  std::string source = "none";
  bool read_only = false;
};

class Target {
 public:
  static Target& current();

  virtual ~Target() = default;
  virtual bool is_kernel() const = 0;
  /// As /proc/self/mountinfo shows it.
  virtual const char* file_system_type() const = 0;
  /// Why nothing of this target can be tested on this machine; empty if it can.
  virtual std::string missing() const = 0;

  /// Mounts the calling process's IPC namespace at `dir`. 0 or an errno.
  virtual int mount(const std::string& dir, const MountRequest& request = {}) = 0;
  /// `mount -o remount,ro` or `,rw` of the superblock. 0 or an errno.
  virtual int remount(const std::string& dir, bool read_only) = 0;

  /// A limit of the calling process's IPC namespace: queues_max, msg_max, msg_default, msgsize_max,
  /// msgsize_default; of System V IPC: msgmni, msgmax, msgmnb, semmsl, semmns, semopm, semmni, shmmni, shmmax,
  /// shmall (which may be as large as an unsigned long), and the identifiers chosen for the next object: msg_next_id, sem_next_id, shm_next_id. -1: it can't
  /// be read, or says so.
  virtual long limit(const std::string& key) = 0;
  /// 0 or an errno.
  virtual int set_limit(const std::string& key, long value) = 0;

  virtual QueueCalls& queue_calls() = 0;

  /// Lets what this process creates from now on be charged (RLIMIT_MSGQUEUE) to an account that no other test
  /// uses. Its effective ids and capabilities stay.
  virtual void use_private_account() {}

  /// Around the whole run. `stop` says what the target left behind that it should not have, or nothing.
  virtual void start() {}
  virtual std::string stop() { return ""; }
};

/// Private copies of the mount and IPC namespaces for the calling process, with nothing propagated back, and
/// the new IPC namespace mounted at `dir`; an account of its own. Errors are failures of the running test.
void enter_new_namespace(const std::string& dir);

/// Each test of the contract: skipped where the target is not, run in a child with a namespace of its own.
class TargetTest : public ::testing::Test {
 protected:
  void SetUp() override;
  /// Runs `body` in a child, as a member of a new IPC namespace that is mounted at the directory it is given.
  void in_new_namespace(const std::function<void(const std::string& dir)>& body);
};

/// Starts and stops the target around the run.
class TargetEnvironment : public ::testing::Environment {
  void SetUp() override;
  void TearDown() override;
};

/// The errno that a command of ours names on stderr; 0 if it succeeded, EIO if it failed and names none.
int errno_of(const CommandResult& result);

}  // namespace mqueuefs::test

/// `if (MQ_DIFFERENCE("why")) { ours } else { the kernel's }`: a deliberate difference, listed in
/// mqueuefs(5).
#define MQ_DIFFERENCE(reason) (!::mqueuefs::test::Target::current().is_kernel())
