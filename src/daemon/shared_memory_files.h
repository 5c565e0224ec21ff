// The files of System V shared memory: sealed memfds.
//
// Nobody can make one shorter or longer, so that who has mapped it never gets SIGBUS. Its mode admits nobody: who is
// handed a read-only descriptor can't open it anew for more (only the descriptor that made it writes).
#pragma once

#include "ipc/sysv/surroundings.h"

namespace mqueuefs::daemon {

class SharedMemoryFiles final : public ipc::sysv::SharedMemorySource {
 public:
  Result<UniqueFd> make(uint64_t size_bytes) override;
  Use use(int file) override;

  /// What an attachment is mapped from. EMFILE, ENFILE.
  static Result<UniqueFd> share(int file, bool read_only);
};

}  // namespace mqueuefs::daemon
