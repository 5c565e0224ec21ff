// Which daemon answers this program, and which others there are: a queue that is missing is often in the other one.
#pragma once

#include <string>

namespace mqueuefs::cli {

struct Answering {
  std::string which;   ///< "your own daemon (/run/user/1000/mqueuefs/mqueuefs.sock)"; empty: none, or one that the user named
  std::string others;  ///< "the system's daemon (/run/mqueuefs/mqueuefs.sock), which serves ..."; empty: none
};

/// Asks the sockets that this user's commands could use. Nothing if MQUEUEFS_SOCKET names one.
Answering find_answering();

/// For the messages of explain.h: noted once, by connect_to_daemon().
void note_answering(Answering answering);
const Answering& answering();

}  // namespace mqueuefs::cli
