// msgget(2), msgop(2), msgctl(2).
#include <limits.h>
#include <pthread.h>

#include "client/sysv.h"
#include "client/sysv_status.h"

namespace mqueuefs::client {
namespace {

using control::SysvNumber;

static_assert(sizeof(long) == sizeof(int64_t), "struct msgbuf travels as it is");

// What do_msgsnd() of ipc/msg.c looks at before the text, but after the type.
int why_not_read(Call& call, int id, const void* message, size_t size) {
  int64_t type;
  if (!copy_in(type, static_cast<const int64_t*>(message))) return EFAULT;
  if (id < 0 || type < 1) return EINVAL;
  SysvRequest probe;
  probe.head.number = SysvNumber::kMsgSend;
  probe.head.id = id;
  probe.head.how = control::kSysvProbe;
  probe.head.size = size;
  const auto probed = sysv_call(call, probe);
  return probed ? EFAULT : probed.code();
}

}  // namespace

int msg_get(key_t key, int flags) {
  Call call;
  SysvRequest request;
  request.head.number = SysvNumber::kMsgGet;
  request.head.id = key;
  request.head.flags = static_cast<uint32_t>(flags);
  const auto answer = sysv_call(call, request);
  return answer ? static_cast<int>(answer->value) : call.fail(answer.code());
}

int msg_send(int id, const void* message, size_t size, int flags) {
  pthread_testcancel();
  Call call;
  if (size > INT_MAX - sizeof(long)) return call.fail(readable(message, sizeof(long)) ? EINVAL : EFAULT);
  if (size + sizeof(long) > control::kSysvMaxBytes) {
    if (!readable(message, sizeof(long))) return call.fail(EFAULT);
    if (!readable(message, sizeof(long) + size)) return call.fail(EFAULT);
  }
  SysvRequest request;
  request.head.number = SysvNumber::kMsgSend;
  request.head.id = id;
  request.head.flags = static_cast<uint32_t>(flags);
  request.head.size = size;
  request.in = {static_cast<const std::byte*>(message), sizeof(long) + size};
  if ((flags & IPC_NOWAIT) == 0) request.sleep = SysvSleep::kLikeMessages;
  const auto answer = sysv_call(call, request);
  if (answer) return 0;
  return call.fail(answer.code() == EFAULT ? why_not_read(call, id, message, size) : answer.code());
}

ssize_t msg_receive(int id, void* message, size_t size, long type, int flags) {
  pthread_testcancel();
  Call call;
  if (static_cast<ssize_t>(size) < 0) return call.fail(EINVAL);
  SysvRequest request;
  request.head.number = SysvNumber::kMsgReceive;
  request.head.id = id;
  request.head.flags = static_cast<uint32_t>(flags);
  request.head.type = type;
  request.head.size = size;
  request.out = {static_cast<std::byte*>(message), sizeof(long) + size};
  if ((flags & IPC_NOWAIT) == 0) request.sleep = SysvSleep::kLikeMessages;
  const auto answer = sysv_call(call, request);
  return answer ? static_cast<ssize_t>(answer->value) : call.fail(answer.code());
}

int msg_control(int id, int command, msqid_ds* status) {
  Call call;
  constexpr auto kNumber = SysvNumber::kMsgControl;
  switch (command) {
    case IPC_INFO:
    case MSG_INFO:
      return info_control<msginfo>(call, kNumber, id, command, status);
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY: {
      control::SysvStat stat{};
      const auto answer = control_call(call, kNumber, id, command, control::writable_bytes_of(stat));
      if (!answer) return call.fail(answer.code());
      msqid_ds result{};
      fill_permissions(result.msg_perm, stat.permissions);
      result.msg_stime = stat.times[0];
      result.msg_rtime = stat.times[1];
      result.msg_ctime = stat.times[2];
      result.msg_lspid = stat.processes[0];
      result.msg_lrpid = stat.processes[1];
      result.msg_qnum = stat.counts[0];
      result.__msg_cbytes = stat.counts[1];
      result.msg_qbytes = stat.counts[2];
      return deliver(call, status, result, answer->value);
    }
    case IPC_SET: {
      msqid_ds copy;
      if (!copy_in(copy, status)) return call.fail(EFAULT);
      return set_control(call, kNumber, id, copy.msg_perm, copy.msg_qbytes);
    }
    default:
      return plain_control(call, kNumber, id, command);
  }
}

}  // namespace mqueuefs::client
