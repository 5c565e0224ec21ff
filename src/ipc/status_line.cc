#include "ipc/status_line.h"

#include <cstdio>

namespace mqueuefs::ipc {

size_t format_status_line(const QueueStatus& status, pid_t notify_pid, std::span<char, 128> out) {
  const int length = snprintf(out.data(), out.size(), "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
                              static_cast<unsigned long>(status.qsize), status.notify_type, status.notify_signo,
                              notify_pid);
  return static_cast<size_t>(length);  // four numbers at their widest are 86 bytes
}

}  // namespace mqueuefs::ipc
