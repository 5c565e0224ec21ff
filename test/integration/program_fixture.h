// A test of the program as a user runs it: a daemon of the test's own at a private socket, in namespaces of the
// test's own, all of it gone afterwards.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "support/run_command.h"

namespace mqueuefs::test {

class ProgramTest : public ::testing::Test {
 protected:
  /// Skips without /dev/fuse, root or IPC namespaces.
  void SetUp() override;

  /// Runs `body` in a child with new IPC and mount namespaces, MQUEUEFS_SOCKET set to a private path, and an
  /// empty directory to mount at. Afterwards the daemon has to leave by itself; one that stays is a failure.
  void in_private_namespaces(const std::function<void(const std::string& dir)>& body);

  /// The program with these arguments.
  static CommandResult program(std::vector<std::string> arguments, const std::string& stdin_text = "");

  /// What it writes; that it succeeds is expected.
  static std::string output(std::vector<std::string> arguments);

  /// The program as mount(8) calls it: `mount.fuse.mqueuefs none DIR -o OPTIONS`. Its exit status.
  static int mount_program(const std::string& dir, const std::string& options = "rw");

  /// A new queue of this process, open for reading and writing and mapped.
  static int mapped_queue(const char* name, long maxmsg, long msgsize);

  /// On an open queue, without waiting: 0 or an errno; the payload or "<ERRNO>".
  static int send(int queue, std::string_view message, unsigned priority);
  static std::string receive(int queue);
};

}  // namespace mqueuefs::test
