// doc/behaviour.md H1..H3 and svipc(7): identifiers, keys, owners and permissions, which the three kinds of System V objects
// have in common; each test runs on each kind.
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <thread>
#include <vector>

#include "support/capability_check.h"
#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/sysv_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

// A kind of object by what all kinds can do.
struct Kind {
  const char* name;
  const char* next_id;       // the limit that chooses the id of the next object
  const char* count_limit;   // how many there may be
  int stat_index, stat_any;  // commands that take an index
  int (*get)(key_t key, int flags);
  int (*control)(int id, int command, void* argument);
  int (*stat)(int id, int command, ipc_perm* permissions, time_t* changed);
  int (*set)(int id, const ipc_perm& permissions);
  // 0, or why it is refused: something that needs the permission to read; to read and to write.
  int (*read)(int id);
  int (*write)(int id);
};

int code_of(int result, int expected_code) {
  return result >= 0 || errno == expected_code ? 0 : errno;
}

int semaphore_control(int id, int command, void* argument) {
  SemaphoreArgument pointer{};
  pointer.buf = static_cast<semid_ds*>(argument);
  return semctl(id, 0, command, pointer);
}

int attach_and_detach(int id, int flags) {
  void* const address = shmat(id, nullptr, flags);
  if (address == reinterpret_cast<void*>(-1)) return errno;
  return shmdt(address) == 0 ? 0 : errno;
}

const Kind kMessages = {
    "msg",
    "msg_next_id",
    "msgmni",
    MSG_STAT,
    MSG_STAT_ANY,
    [](key_t key, int flags) { return msgget(key, flags); },
    [](int id, int command, void* argument) { return msgctl(id, command, static_cast<msqid_ds*>(argument)); },
    [](int id, int command, ipc_perm* permissions, time_t* changed) {
      msqid_ds status{};
      const int result = msgctl(id, command, &status);
      *permissions = status.msg_perm;
      *changed = status.msg_ctime;
      return result;
    },
    [](int id, const ipc_perm& permissions) {
      msqid_ds status{};
      status.msg_perm = permissions;
      status.msg_qbytes = 1000;
      return msgctl(id, IPC_SET, &status);
    },
    [](int id) {
      long message[2];
      return code_of(static_cast<int>(msgrcv(id, message, sizeof(long), 1000, IPC_NOWAIT)), ENOMSG);
    },
    [](int id) { return code_of(send_message(id, 1, "x"), 0); },
};

const Kind kSemaphores = {
    "sem",
    "sem_next_id",
    "semmni",
    SEM_STAT,
    SEM_STAT_ANY,
    [](key_t key, int flags) { return semget(key, 1, flags); },
    semaphore_control,
    [](int id, int command, ipc_perm* permissions, time_t* changed) {
      semid_ds status{};
      const int result = semaphore_control(id, command, &status);
      *permissions = status.sem_perm;
      *changed = status.sem_ctime;
      return result;
    },
    [](int id, const ipc_perm& permissions) {
      semid_ds status{};
      status.sem_perm = permissions;
      return semaphore_control(id, IPC_SET, &status);
    },
    [](int id) { return code_of(operate(id, {{0, 0, IPC_NOWAIT}}), EAGAIN); },
    [](int id) { return code_of(operate(id, {{0, 1, IPC_NOWAIT}}), 0); },
};

const Kind kMemory = {
    "shm",
    "shm_next_id",
    "shmmni",
    SHM_STAT,
    SHM_STAT_ANY,
    [](key_t key, int flags) { return shmget(key, 1, flags); },
    [](int id, int command, void* argument) { return shmctl(id, command, static_cast<shmid_ds*>(argument)); },
    [](int id, int command, ipc_perm* permissions, time_t* changed) {
      shmid_ds status{};
      const int result = shmctl(id, command, &status);
      *permissions = status.shm_perm;
      *changed = status.shm_ctime;
      return result;
    },
    [](int id, const ipc_perm& permissions) {
      shmid_ds status{};
      status.shm_perm = permissions;
      return shmctl(id, IPC_SET, &status);
    },
    [](int id) { return attach_and_detach(id, SHM_RDONLY); },
    [](int id) { return attach_and_detach(id, 0); },
};

class SysvIdentifier : public SysvTest, public ::testing::WithParamInterface<const Kind*> {
 protected:
  static const Kind& kind() { return *GetParam(); }

  static int create(int mode = 0600) { return kind().get(IPC_PRIVATE, IPC_CREAT | mode); }
  static int remove(int id) { return kind().control(id, IPC_RMID, nullptr); }

  static int stat(int id, ipc_perm* permissions) {
    time_t changed;
    return kind().stat(id, IPC_STAT, permissions, &changed);
  }
  static int set(int id, uid_t uid, gid_t gid, unsigned mode) {
    ipc_perm permissions{};
    permissions.uid = uid;
    permissions.gid = gid;
    permissions.mode = static_cast<unsigned short>(mode);
    return kind().set(id, permissions);
  }
  static ipc_perm permissions_of(int id) {
    ipc_perm permissions{};
    EXPECT_OK(stat(id, &permissions));
    return permissions;
  }
  static time_t changed_at(int id) {
    ipc_perm permissions{};
    time_t changed = 0;
    EXPECT_OK(kind().stat(id, IPC_STAT, &permissions, &changed));
    return changed;
  }
};

class SysvSequence : public SysvTest {};

/// Use the object, not only look at it: memory is attached.
class SysvUsedIdentifier : public SysvIdentifier {};

INSTANTIATE_TEST_SUITE_P(Kinds, SysvIdentifier, ::testing::Values(&kMessages, &kSemaphores, &kMemory),
                         [](const auto& kind) { return std::string(kind.param->name); });
INSTANTIATE_TEST_SUITE_P(Kinds, SysvUsedIdentifier, ::testing::Values(&kMessages, &kSemaphores, &kMemory),
                         [](const auto& kind) { return std::string(kind.param->name); });

// Identifiers.

TEST_P(SysvIdentifier, H1_TheFirstIdOfANamespaceIs0AndTheNext1) {
  in_new_ipc_namespace([] {
    for (int expected = 0; expected < 5; ++expected)
      EXPECT_EQ(expected, create());
  });
}

TEST_P(SysvIdentifier, H1_ANewObjectTakesTheNextIndexNotTheLowestFree) {
  in_new_ipc_namespace([] {
    for (int i = 0; i < 3; ++i)
      ASSERT_EQ(i, create());
    ASSERT_OK(remove(0));
    ASSERT_OK(remove(2));
    EXPECT_EQ(3, create());
  });
}

TEST_P(SysvIdentifier, H1_TheIndexStartsAgainAfter64AndTheSequenceGrowsByOne) {
  in_new_ipc_namespace([] {
    for (int sequence = 0; sequence < 3; ++sequence) {
      for (int index = 0; index < 64; ++index) {
        ASSERT_EQ(sequence * kIdsPerSequence + index, create());
        ASSERT_OK(remove(sequence * kIdsPerSequence + index));
      }
    }
  });
}

TEST_P(SysvIdentifier, H1_IndexesInUseAreLeftOut) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, create());
    ASSERT_EQ(1, create());
    for (int index = 2; index < 64; ++index) {
      ASSERT_EQ(index, create());
      if (index == 3) continue;
      ASSERT_OK(remove(index));
    }
    EXPECT_EQ(kIdsPerSequence + 2, create());
    EXPECT_EQ(kIdsPerSequence + 4, create());
  });
}

TEST_P(SysvIdentifier, H1_TheCycleIsHalfAsLongAgainAsTheNumberOfObjects) {
  in_new_ipc_namespace([] {
    for (int index = 0; index < 100; ++index)
      ASSERT_EQ(index, create());
    for (int index = 100; index < 150; ++index) {
      ASSERT_EQ(index, create());
      ASSERT_OK(remove(index));
    }
    EXPECT_EQ(kIdsPerSequence + 100, create());
  });
}

// With 43 places taken the shortest cycle has 21 to go round: a step of the sequence takes the fewest calls. Ours would
// take a minute for all of them: it goes a part of the way, and its table all of it (unit test SysvIds.TheSequenceWraps).
TEST_F(SysvSequence, H1_Is0AgainAfter65534) {
  in_new_ipc_namespace([] {
    constexpr int kTaken = 43, kLastSequence = 65534;
    for (int index = 0; index < kTaken; ++index)
      ASSERT_EQ(index, msgget(IPC_PRIVATE, 0600));
    const int end = Target::current().is_kernel() ? kLastSequence : 100;
    for (int sequence = 0; sequence <= end; ++sequence) {
      for (int index = kTaken; index < 64; ++index) {
        const int id = msgget(IPC_PRIVATE, 0600);
        if (id != sequence * kIdsPerSequence + index || msgctl(id, IPC_RMID, nullptr) != 0)
          FAIL() << id << " instead of " << sequence << ", " << index;
      }
    }
    EXPECT_EQ(end == kLastSequence ? kTaken : (end + 1) * kIdsPerSequence + kTaken, msgget(IPC_PRIVATE, 0600));
  });
}

TEST_P(SysvUsedIdentifier, H1_AStaleIdIsEinval) {
  in_new_ipc_namespace([] {
    const int old = create();
    ASSERT_OK(remove(old));
    ipc_perm permissions{};
    EXPECT_ERRNO(EINVAL, stat(old, &permissions));
    EXPECT_ERRNO(EINVAL, remove(old));
    // Somebody else lives at its index.
    int id = create();
    while (id != old + kIdsPerSequence) {
      ASSERT_OK(remove(id));
      ASSERT_OK(id = create());
    }
    EXPECT_ERRNO(EINVAL, stat(old, &permissions));
    EXPECT_ERRNO(EINVAL, remove(old));
    EXPECT_ERRNO(EINVAL, set(old, 0, 0, 0600));
    EXPECT_EQ(EINVAL, kind().read(old));
    EXPECT_EQ(EINVAL, kind().write(old));
    EXPECT_EQ(0, kind().read(id));
  });
}

TEST_P(SysvUsedIdentifier, H1_NoSuchIdIsEinval) {
  in_new_ipc_namespace([] {
    ASSERT_OK(create());
    for (const int id : {-1, INT_MIN, 1, kIdsPerSequence, 5 * kIdsPerSequence, INT_MAX}) {
      SCOPED_TRACE(id);
      ipc_perm permissions{};
      EXPECT_ERRNO(EINVAL, stat(id, &permissions));
      EXPECT_ERRNO(EINVAL, set(id, 0, 0, 0600));
      EXPECT_ERRNO(EINVAL, remove(id));
      EXPECT_EQ(EINVAL, kind().read(id));
      EXPECT_EQ(EINVAL, kind().write(id));
    }
  });
}

TEST_P(SysvIdentifier, H1_TheSequenceIsShown) {
  in_new_ipc_namespace([] {
    int id = create();
    while (id < 2 * kIdsPerSequence) {
      ASSERT_OK(remove(id));
      ASSERT_OK(id = create());
    }
    EXPECT_EQ(2, permissions_of(id).__seq);
  });
}

TEST_P(SysvUsedIdentifier, H2_TheirNumberIsLimitedPerNamespace) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, create());
    ASSERT_EQ(0, Target::current().set_limit(kind().count_limit, 2));
    EXPECT_EQ(2, Target::current().limit(kind().count_limit));
    const int second = kind().get(kKey, IPC_CREAT | 0600);
    ASSERT_OK(second);
    EXPECT_ERRNO(ENOSPC, create());
    EXPECT_ERRNO(ENOSPC, kind().get(kKey + 1, IPC_CREAT | 0600));
    EXPECT_EQ(second, kind().get(kKey, IPC_CREAT | 0600)) << "that one exists";
    ASSERT_OK(remove(0));
    EXPECT_OK(create());
    // Below what there is.
    ASSERT_EQ(0, Target::current().set_limit(kind().count_limit, 1));
    EXPECT_ERRNO(ENOSPC, create());
    EXPECT_EQ(0, kind().read(second));
    run_in_child([] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_OK(create());
      EXPECT_OK(create());
      EXPECT_OK(create());
    });
  });
}

TEST_P(SysvIdentifier, H2_ANumberOf0IsALimitAndANegativeOneIsNone) {
  in_new_ipc_namespace([] {
    EXPECT_NE(0, Target::current().set_limit(kind().count_limit, -1));
    ASSERT_EQ(0, Target::current().set_limit(kind().count_limit, 0));
    EXPECT_ERRNO(ENOSPC, create());
  });
}

TEST_P(SysvIdentifier, H2_TheNumberIsAtMost32768) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(0, Target::current().set_limit(kind().count_limit, 32768));
    EXPECT_NE(0, Target::current().set_limit(kind().count_limit, 32769)) << "EINVAL, or ERANGE";
    EXPECT_EQ(32768, Target::current().limit(kind().count_limit));
  });
}

TEST_P(SysvIdentifier, H3_TheNextObjectTakesTheIdThatWasChosen) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(-1, Target::current().limit(kind().next_id));
    const int chosen = 7 * kIdsPerSequence + 123;
    ASSERT_EQ(0, Target::current().set_limit(kind().next_id, chosen));
    EXPECT_EQ(chosen, Target::current().limit(kind().next_id));
    EXPECT_EQ(chosen, kind().get(kKey, IPC_CREAT | 0600));
    EXPECT_EQ(-1, Target::current().limit(kind().next_id));
    EXPECT_EQ(chosen, kind().get(kKey, 0600));
    EXPECT_EQ(7, permissions_of(chosen).__seq);
    EXPECT_EQ(0, create()) << "the others go on where they were";
    EXPECT_EQ(1, create());
    EXPECT_OK(remove(chosen));
  });
}

TEST_P(SysvUsedIdentifier, H3_AnyIdFrom0ToIntMaxCanBeChosen) {
  in_new_ipc_namespace([] {
    for (const int chosen : {5, 0, INT_MAX, INT_MAX - 1, kIdsPerSequence + 7}) {
      SCOPED_TRACE(chosen);
      ASSERT_EQ(0, Target::current().set_limit(kind().next_id, chosen));
      EXPECT_EQ(chosen, create());
      EXPECT_EQ(0, kind().read(chosen));
    }
  });
}

TEST_P(SysvIdentifier, H3_OnlyACreationUsesItUp) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, kind().get(kKey, IPC_CREAT | 0600));
    ASSERT_EQ(0, Target::current().set_limit(kind().next_id, 555));
    EXPECT_EQ(0, kind().get(kKey, IPC_CREAT | 0600));
    EXPECT_ERRNO(EEXIST, kind().get(kKey, IPC_CREAT | IPC_EXCL | 0600));
    EXPECT_ERRNO(ENOENT, kind().get(kKey + 1, 0600));
    EXPECT_EQ(555, Target::current().limit(kind().next_id));
    EXPECT_EQ(555, create());
  });
}

TEST_P(SysvIdentifier, H3_ItIsOneOfTheNamespace) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit(kind().next_id, 555));
    run_in_child([] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_EQ(-1, Target::current().limit(kind().next_id));
      EXPECT_EQ(0, create());
    });
    EXPECT_EQ(555, create());
  });
}

TEST_P(SysvIdentifier, H3_ChoosingTakesPrivilege) {
  in_new_ipc_namespace([] {
    run_as(kAlice, [] { EXPECT_NE(0, Target::current().set_limit(kind().next_id, 555)); });
    EXPECT_EQ(0, create());
  });
}

// The kernel then searches upwards from the index that is taken, and keeps the sequence that was chosen.
TEST_P(SysvIdentifier, H3_IfTheIndexIsTakenAnotherOneIs) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, create());
    ASSERT_EQ(1, create());
    ASSERT_EQ(2, create());
    ASSERT_EQ(0, Target::current().set_limit(kind().next_id, 5 * kIdsPerSequence + 1));
    EXPECT_EQ(5 * kIdsPerSequence + 3, create());
    EXPECT_EQ(-1, Target::current().limit(kind().next_id));
    EXPECT_EQ(4, create());
  });
}

// Keys. svipc(7), msgget(2).

TEST_P(SysvIdentifier, AKeyFindsItsObject) {
  in_new_ipc_namespace([] {
    for (const key_t key : {1, -1, INT_MAX, INT_MIN, kKey}) {
      SCOPED_TRACE(key);
      EXPECT_ERRNO(ENOENT, kind().get(key, 0600));
      const int id = kind().get(key, IPC_CREAT | 0600);
      ASSERT_OK(id);
      EXPECT_EQ(id, kind().get(key, 0600));
      EXPECT_EQ(id, kind().get(key, 0));
      EXPECT_EQ(id, kind().get(key, IPC_CREAT | 0600));
      EXPECT_EQ(key, permissions_of(id).__key);
    }
  });
}

TEST_P(SysvIdentifier, ExclWithCreatWantsANewOne) {
  in_new_ipc_namespace([] {
    const int id = kind().get(kKey, IPC_CREAT | IPC_EXCL | 0600);
    ASSERT_OK(id);
    EXPECT_ERRNO(EEXIST, kind().get(kKey, IPC_CREAT | IPC_EXCL | 0600));
    EXPECT_EQ(id, kind().get(kKey, IPC_EXCL | 0600)) << "without IPC_CREAT it means nothing";
    EXPECT_ERRNO(ENOENT, kind().get(kKey + 1, IPC_EXCL | 0600));
  });
}

TEST_P(SysvIdentifier, APrivateOneIsAlwaysNew) {
  in_new_ipc_namespace([] {
    EXPECT_EQ(0, kind().get(IPC_PRIVATE, 0600)) << "IPC_CREAT need not be said";
    EXPECT_EQ(1, kind().get(IPC_PRIVATE, IPC_CREAT | IPC_EXCL | 0600));
    EXPECT_EQ(2, kind().get(IPC_PRIVATE, IPC_CREAT));
    EXPECT_EQ(0, permissions_of(2).__key);
  });
}

TEST_P(SysvIdentifier, ARemovedOnesKeyIsFree) {
  in_new_ipc_namespace([] {
    const int id = kind().get(kKey, IPC_CREAT | 0600);
    ASSERT_OK(remove(id));
    EXPECT_ERRNO(ENOENT, kind().get(kKey, 0600));
    const int next = kind().get(kKey, IPC_CREAT | IPC_EXCL | 0600);
    EXPECT_OK(next);
    EXPECT_NE(id, next);
  });
}

TEST_P(SysvIdentifier, EachKindHasKeysOfItsOwn) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, kind().get(kKey, IPC_CREAT | 0600));
    for (const Kind* other : {&kMessages, &kSemaphores, &kMemory}) {
      if (other == &kind()) continue;
      EXPECT_ERRNO(ENOENT, other->get(kKey, 0600));
      EXPECT_EQ(0, other->get(kKey, IPC_CREAT | IPC_EXCL | 0600));
    }
  });
}

TEST_P(SysvIdentifier, ANamespaceSeesItsOwnOnly) {
  in_new_ipc_namespace([] {
    const int id = kind().get(kKey, IPC_CREAT | 0600);
    ASSERT_OK(id);
    run_in_child([&] {
      ASSERT_OK(unshare(CLONE_NEWIPC));
      EXPECT_ERRNO(ENOENT, kind().get(kKey, 0600));
      EXPECT_ERRNO(EINVAL, remove(id));
      EXPECT_EQ(0, kind().get(kKey, IPC_CREAT | IPC_EXCL | 0640));
    });
    EXPECT_EQ(0600, permissions_of(id).mode & 0777);
  });
}

// Owners and permissions. svipc(7), kernel ipcperms().

// setresuid(2), C library/kernel differences.
TEST_P(SysvIdentifier, AThreadMayBeAnotherUser) {
  in_new_ipc_namespace([] {
    ASSERT_OK(kind().get(IPC_PRIVATE, 0600));
    std::thread([] {
      ASSERT_OK(syscall(SYS_setresuid, -1, kAlice, -1));
      ASSERT_OK(kind().get(kKey, IPC_CREAT | 0600));
    }).join();
    EXPECT_EQ(kAlice, permissions_of(kind().get(kKey, 0)).cuid);
  });
}

TEST_P(SysvIdentifier, TheCreatorIsTheOwner) {
  in_new_ipc_namespace([] {
    run_in_child([] {
      ASSERT_OK(setresgid(kBob, kBob, kBob));
      ASSERT_OK(setresuid(0, kAlice, 0));  // the effective one counts
      ASSERT_OK(kind().get(kKey, IPC_CREAT | 0640));
    });
    const ipc_perm permissions = permissions_of(kind().get(kKey, 0));
    EXPECT_EQ(kAlice, permissions.uid);
    EXPECT_EQ(kAlice, permissions.cuid);
    EXPECT_EQ(kBob, permissions.gid);
    EXPECT_EQ(kBob, permissions.cgid);
    EXPECT_EQ(0640, permissions.mode);
  });
}

TEST_P(SysvIdentifier, TheModeIsTheLowestNineBitsAndTheUmaskIsNotAsked) {
  in_new_ipc_namespace([] {
    umask(0777);
    EXPECT_EQ(0777, permissions_of(kind().get(IPC_PRIVATE, IPC_CREAT | 0777)).mode);
    EXPECT_EQ(0, permissions_of(kind().get(IPC_PRIVATE, IPC_CREAT)).mode);
  });
}

TEST_P(SysvUsedIdentifier, TheFirstClassThatFitsDecides) {
  in_new_ipc_namespace([] {
    struct Case {
      int mode;
      int owner, group, other;  // what comes of reading
    };
    for (const Case& c : {Case{0400, 0, EACCES, EACCES}, Case{0040, EACCES, 0, EACCES}, Case{0004, EACCES, EACCES, 0},
                          Case{0044, EACCES, 0, 0}, Case{0404, 0, EACCES, 0}, Case{0, EACCES, EACCES, EACCES}}) {
      SCOPED_TRACE(c.mode);
      const int id = create();
      ASSERT_OK(set(id, kAlice, kAlice, static_cast<unsigned>(c.mode)));
      run_as(kAlice, [&] { EXPECT_EQ(c.owner, kind().read(id)); });
      run_as(kBob, [&] { EXPECT_EQ(c.other, kind().read(id)); });
      run_in_child([&] {
        ASSERT_OK(setgroups(0, nullptr));
        ASSERT_OK(setresgid(kAlice, kAlice, kAlice));
        ASSERT_OK(setresuid(kBob, kBob, kBob));
        EXPECT_EQ(c.group, kind().read(id));
      });
    }
  });
}

TEST_P(SysvUsedIdentifier, WritingTakesThePermissionToWrite) {
  in_new_ipc_namespace([] {
    const int id = create();
    ASSERT_OK(set(id, kAlice, kAlice, 0644));
    run_as(kBob, [&] {
      EXPECT_EQ(0, kind().read(id));
      EXPECT_EQ(EACCES, kind().write(id));
    });
    run_as(kAlice, [&] { EXPECT_EQ(0, kind().write(id)); });
    ASSERT_OK(set(id, kAlice, kAlice, 0606));
    run_as(kBob, [&] { EXPECT_EQ(0, kind().write(id)); });
  });
}

TEST_P(SysvUsedIdentifier, ASupplementaryGroupCounts) {
  in_new_ipc_namespace([] {
    const int id = create();
    ASSERT_OK(set(id, 0, 4242, 0060));
    run_as(kBob, [&] { EXPECT_EQ(EACCES, kind().read(id)); });
    run_in_child([&] {
      const gid_t groups[] = {17, 4242, 99999};
      ASSERT_OK(setgroups(3, groups));
      ASSERT_OK(setresgid(kBob, kBob, kBob));
      ASSERT_OK(setresuid(kBob, kBob, kBob));
      EXPECT_EQ(0, kind().read(id));
      EXPECT_EQ(0, kind().write(id));
    });
  });
}

TEST_P(SysvUsedIdentifier, TheEffectiveIdsCount) {
  in_new_ipc_namespace([] {
    const int id = create();
    ASSERT_OK(set(id, kAlice, 0, 0600));
    run_in_child([&] {
      ASSERT_OK(setgroups(0, nullptr));
      ASSERT_OK(setresgid(kBob, kBob, kBob));
      ASSERT_OK(setresuid(kAlice, kBob, kAlice));
      EXPECT_EQ(EACCES, kind().read(id));
      ASSERT_OK(setresuid(kBob, kAlice, kAlice));
      EXPECT_EQ(0, kind().read(id));
    });
  });
}

TEST_P(SysvUsedIdentifier, TheCreatorKeepsTheOwnersRights) {
  in_new_ipc_namespace([] {
    run_as(kAlice, [] {
      const int id = kind().get(kKey, IPC_CREAT | 0600);
      ASSERT_OK(set(id, kBob, kBob, 0600));
      EXPECT_EQ(0, kind().read(id));
      EXPECT_EQ(0, kind().write(id));
    });
    const int id = kind().get(kKey, 0);
    const ipc_perm permissions = permissions_of(id);
    EXPECT_EQ(kBob, permissions.uid);
    EXPECT_EQ(kBob, permissions.gid);
    EXPECT_EQ(kAlice, permissions.cuid);
    EXPECT_EQ(kAlice, permissions.cgid);
    run_as(kBob, [&] {
      EXPECT_EQ(0, kind().read(id));
      EXPECT_OK(set(id, kBob, kBob, 0040)) << "the owner may set, too";
    });
    // The creator's group, too.
    run_in_child([&] {
      ASSERT_OK(setgroups(0, nullptr));
      ASSERT_OK(setresgid(kAlice, kAlice, kAlice));
      ASSERT_OK(setresuid(kNobody, kNobody, kNobody));
      EXPECT_EQ(0, kind().read(id));
    });
    run_as(kAlice, [&] { EXPECT_OK(remove(id)); });
  });
}

TEST_P(SysvIdentifier, LookingUpAKeyAsksForTheModeThatIsGiven) {
  in_new_ipc_namespace([] {
    const int id = kind().get(kKey, IPC_CREAT | 0644);
    ASSERT_OK(id);
    run_as(kBob, [&] {
      EXPECT_EQ(id, kind().get(kKey, 0));
      EXPECT_EQ(id, kind().get(kKey, 0444));
      EXPECT_EQ(id, kind().get(kKey, 0004)) << "whatever class it is asked for";
      EXPECT_EQ(id, kind().get(kKey, 0400));
      EXPECT_ERRNO(EACCES, kind().get(kKey, 0600));
      EXPECT_ERRNO(EACCES, kind().get(kKey, 0002));
      EXPECT_ERRNO(EACCES, kind().get(kKey, IPC_CREAT | 0666));
      EXPECT_ERRNO(EEXIST, kind().get(kKey, IPC_CREAT | IPC_EXCL | 0666)) << "before the permissions";
    });
  });
}

TEST_P(SysvIdentifier, StatTakesThePermissionToRead) {
  in_new_ipc_namespace([] {
    const int id = create(0622);
    run_as(kBob, [&] {
      ipc_perm permissions{};
      EXPECT_ERRNO(EACCES, stat(id, &permissions));
    });
    ASSERT_OK(set(id, 0, 0, 0604));
    run_as(kBob, [&] { EXPECT_EQ(0604, permissions_of(id).mode); });
  });
}

TEST_P(SysvIdentifier, SetAndRemoveAreForOwnerAndCreator) {
  in_new_ipc_namespace([] {
    const int id = create(0666);
    run_as(kBob, [&] {
      EXPECT_ERRNO(EPERM, set(id, kBob, kBob, 0666));
      EXPECT_ERRNO(EPERM, remove(id));
    });
    ASSERT_OK(set(id, kBob, 0, 0)) << "no permission is needed";
    run_as(kBob, [&] {
      EXPECT_OK(set(id, kBob, 0, 0));
      EXPECT_OK(remove(id));
    });
  });
}

TEST_P(SysvIdentifier, SetChangesOwnerModeAndTime) {
  in_new_ipc_namespace([] {
    const int id = create(0600);
    const time_t created = changed_at(id);
    ASSERT_TRUE(wait_until([&] { return time(nullptr) > created; }));
    ASSERT_OK(set(id, kAlice, kBob, 07777));
    const ipc_perm permissions = permissions_of(id);
    EXPECT_EQ(kAlice, permissions.uid);
    EXPECT_EQ(kBob, permissions.gid);
    EXPECT_EQ(0u, permissions.cuid);
    EXPECT_EQ(0u, permissions.cgid);
    EXPECT_EQ(0777, permissions.mode);
    EXPECT_LT(created, changed_at(id));
  });
}

TEST_P(SysvIdentifier, SetRefusesIdsThatAreNone) {
  in_new_ipc_namespace([] {
    const int id = create(0600);
    EXPECT_ERRNO(EINVAL, set(id, static_cast<uid_t>(-1), 0, 0666));
    EXPECT_ERRNO(EINVAL, set(id, 0, static_cast<gid_t>(-1), 0666));
    EXPECT_EQ(0600, permissions_of(id).mode);
  });
}

TEST_P(SysvUsedIdentifier, CapabilitiesOverride) {
  in_new_ipc_namespace([] {
    const int id = create();
    ASSERT_OK(set(id, kAlice, kAlice, 0));
    int other = -1;
    run_as(kBob, [] { ASSERT_OK(kind().get(kKey, IPC_CREAT)); });
    ASSERT_OK(other = kind().get(kKey, 0));
    EXPECT_EQ(0, kind().read(other)) << "CAP_IPC_OWNER";
    EXPECT_EQ(0, kind().write(other));
    run_in_child([&] {
      ASSERT_TRUE(drop_capability(CAP_IPC_OWNER));
      EXPECT_EQ(EACCES, kind().read(other));
      EXPECT_EQ(EACCES, kind().write(other));
      EXPECT_ERRNO(EACCES, kind().get(kKey, 0600));
      EXPECT_OK(set(other, kBob, kBob, 0)) << "CAP_SYS_ADMIN";
      ASSERT_TRUE(drop_capability(CAP_SYS_ADMIN));
      EXPECT_ERRNO(EPERM, set(other, kBob, kBob, 0666));
      EXPECT_ERRNO(EPERM, remove(other));
    });
    EXPECT_OK(remove(other)) << "CAP_SYS_ADMIN";
  });
}

// user_namespaces(7): capabilities count in the user namespace that owns the IPC namespace.
TEST_P(SysvUsedIdentifier, CapabilitiesInAnotherUserNamespaceDoNotCount) {
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  in_new_ipc_namespace([] {
    const int id = create();
    run_as(kAlice, [&] {
      ASSERT_TRUE(enter_user_namespace());
      EXPECT_EQ(EACCES, kind().read(id));
      EXPECT_ERRNO(EPERM, remove(id));
      EXPECT_ERRNO(EPERM, set(id, 0, 0, 0666));
    });
  });
}

TEST_P(SysvUsedIdentifier, CapabilitiesInTheOwningUserNamespaceCount) {
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  in_new_ipc_namespace([] {
    run_as(kAlice, [&] {
      ASSERT_TRUE(enter_user_namespace());
      ASSERT_OK(unshare(CLONE_NEWIPC));
      const int id = create(0);
      ASSERT_OK(id);
      EXPECT_EQ(0, kind().read(id));
      EXPECT_EQ(0, kind().write(id));
      EXPECT_ERRNO(EINVAL, set(id, 5, 0, 0600)) << "a user that does not exist there";
      EXPECT_OK(remove(id));
    });
  });
}

TEST_P(SysvIdentifier, OwnersAreShownAsTheReaderNumbersThem) {
  if (!CapabilityCheck::ordinary_user_can_unshare_user()) GTEST_SKIP() << "needs user namespaces";
  in_new_ipc_namespace([] {
    const int id = create(0644);
    ASSERT_OK(set(id, kAlice, kAlice, 0644));
    run_as(kAlice, [&] {
      ASSERT_TRUE(enter_user_namespace(7, 8));
      const ipc_perm permissions = permissions_of(id);
      EXPECT_EQ(7u, permissions.uid);
      EXPECT_EQ(8u, permissions.gid);
      EXPECT_EQ(65534u, permissions.cuid) << "not mapped";
      EXPECT_EQ(65534u, permissions.cgid);
      EXPECT_OK(set(id, 7, 8, 0640));
    });
    EXPECT_EQ(kAlice, permissions_of(id).uid);
    EXPECT_EQ(0640, permissions_of(id).mode);
  });
}

// Commands. msgctl(2), semctl(2), shmctl(2).

TEST_P(SysvIdentifier, AnUnknownCommandIsEinval) {
  in_new_ipc_namespace([] {
    const int id = create();
    char room[256] = {};
    for (const int command : {-1, 99, 1000, INT_MAX}) {
      SCOPED_TRACE(command);
      EXPECT_ERRNO(EINVAL, kind().control(id, command, room));
    }
  });
}

TEST_P(SysvIdentifier, StatByIndexGivesTheId) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, create());
    ASSERT_EQ(0, Target::current().set_limit(kind().next_id, 3 * kIdsPerSequence + 2));
    ASSERT_EQ(3 * kIdsPerSequence + 2, kind().get(kKey, IPC_CREAT | 0600));
    for (const int command : {kind().stat_index, kind().stat_any}) {
      SCOPED_TRACE(command);
      ipc_perm permissions{};
      time_t changed;
      EXPECT_EQ(0, kind().stat(0, command, &permissions, &changed));
      EXPECT_EQ(3 * kIdsPerSequence + 2, kind().stat(2, command, &permissions, &changed));
      EXPECT_EQ(kKey, permissions.__key);
      EXPECT_ERRNO(EINVAL, kind().stat(1, command, &permissions, &changed));
      EXPECT_ERRNO(EINVAL, kind().stat(-1, command, &permissions, &changed));
      EXPECT_ERRNO(EINVAL, kind().stat(32767, command, &permissions, &changed));
      EXPECT_EQ(3 * kIdsPerSequence + 2, kind().stat(kIdsPerSequence + 2, command, &permissions, &changed))
          << "the index of whatever number";
    }
  });
}

TEST_P(SysvIdentifier, StatByIndexTakesThePermissionToReadAndStatAnyDoesNot) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, create(0600));
    run_as(kBob, [] {
      ipc_perm permissions{};
      time_t changed;
      EXPECT_ERRNO(EACCES, kind().stat(0, kind().stat_index, &permissions, &changed));
      EXPECT_EQ(0, kind().stat(0, kind().stat_any, &permissions, &changed));
      EXPECT_EQ(0600, permissions.mode);
    });
  });
}

TEST_P(SysvIdentifier, InfoGivesTheHighestIndexInUse) {
  in_new_ipc_namespace([] {
    char room[256] = {};
    EXPECT_EQ(0, kind().control(0, IPC_INFO, room)) << "nothing there";
    for (int index = 0; index < 5; ++index)
      ASSERT_EQ(index, create());
    EXPECT_EQ(4, kind().control(0, IPC_INFO, room));
    EXPECT_EQ(4, kind().control(12345, IPC_INFO, room)) << "the id does not matter";
    ASSERT_OK(remove(4));
    ASSERT_OK(remove(2));
    EXPECT_EQ(3, kind().control(0, IPC_INFO, room));
    run_as(kBob, [&] { EXPECT_EQ(3, kind().control(0, IPC_INFO, room)) << "for everybody"; });
  });
}

TEST_P(SysvIdentifier, ABadPointerIsEfault) {
  in_new_ipc_namespace([] {
    const int id = create();
    for (const uintptr_t address : {uintptr_t{0}, uintptr_t{8}, UINTPTR_MAX - 4095}) {
      SCOPED_TRACE(address);
      void* const bad = reinterpret_cast<void*>(address);
      EXPECT_ERRNO(EFAULT, kind().control(id, IPC_STAT, bad));
      EXPECT_ERRNO(EFAULT, kind().control(id, IPC_SET, bad));
      EXPECT_ERRNO(EFAULT, kind().control(id, IPC_INFO, bad));
      EXPECT_ERRNO(EFAULT, kind().control(0, kind().stat_index, bad));
      EXPECT_ERRNO(EINVAL, kind().control(777, IPC_STAT, bad)) << "found first";
      EXPECT_ERRNO(EFAULT, kind().control(777, IPC_SET, bad)) << "read first";
    }
  });
}

TEST_P(SysvUsedIdentifier, AnObjectOutlivesItsMaker) {
  in_new_ipc_namespace([] {
    run_in_child([] { ASSERT_OK(kind().get(kKey, IPC_CREAT | 0600)); });
    const int id = kind().get(kKey, 0600);
    ASSERT_OK(id);
    EXPECT_EQ(0, kind().read(id));
  });
}

}  // namespace
}  // namespace mqueuefs::test
