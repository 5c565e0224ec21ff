// mqueuefs_msg_chid and its kin: ids of System V objects that are to be others.
#include "client/call.h"
#include "client/pool.h"
#include "client/sysv_admin.h"
#include "client/user_memory.h"
#include "mqueuefs/mqueuefs.h"

namespace mqueuefs::client {
namespace {

static_assert(sizeof(mqueuefs_id_pair) == sizeof(control::SysvPair));
static_assert(MQUEUEFS_MSG == static_cast<int>(control::SysvKind::kMsg) &&
              MQUEUEFS_SEM == static_cast<int>(control::SysvKind::kSem) &&
              MQUEUEFS_SHM == static_cast<int>(control::SysvKind::kShm));

int permute(const char* namespace_name, int kind, std::span<const control::SysvPair> pairs) {
  Call call;
  if (namespace_name == nullptr) namespace_name = "";
  if (readable_length(namespace_name, control::kNameBytes) < 0) return call.fail(EFAULT);
  if (kind < 0 || kind >= static_cast<int>(control::kSysvKinds)) return call.fail(EINVAL);
  if (pairs.size() > kMostIdPairs) return call.fail(EINVAL);
  if (!readable(pairs.data(), pairs.size_bytes())) return call.fail(EFAULT);
  Lease lease;
  auto connection = lease.connection();
  for (bool again = lease.was_idle();; again = false) {
    if (!connection) return call.fail(errno_without_daemon(connection.code()));
    const Status done = permute_ids(**connection, namespace_name, static_cast<control::SysvKind>(kind), pairs);
    if (done || !again || (*connection)->healthy()) return call.finish(done);
    connection = lease.renewed();
  }
}

int change(const char* namespace_name, int kind, int id, int new_id) {
  const control::SysvPair pair{id, new_id};
  return permute(namespace_name, kind, std::span(&pair, 1));
}

}  // namespace
}  // namespace mqueuefs::client

using namespace mqueuefs::client;

extern "C" {

int mqueuefs_msg_chid(const char* namespace_name, int id, int new_id) {
  return change(namespace_name, MQUEUEFS_MSG, id, new_id);
}
int mqueuefs_sem_chid(const char* namespace_name, int id, int new_id) {
  return change(namespace_name, MQUEUEFS_SEM, id, new_id);
}
int mqueuefs_shm_chid(const char* namespace_name, int id, int new_id) {
  return change(namespace_name, MQUEUEFS_SHM, id, new_id);
}

int mqueuefs_ipc_permute(const char* namespace_name, int kind, const struct mqueuefs_id_pair* pairs, size_t count) {
  return permute(namespace_name, kind, {reinterpret_cast<const mqueuefs::control::SysvPair*>(pairs), count});
}

}  // extern "C"
