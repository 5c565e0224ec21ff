// Shared memory: shmop(2), shmctl(2), in the order in which ipc/shm.c looks at things.
#include "unit/ipc_sysv_fixture.h"

namespace mqueuefs::ipc::sysv {
namespace {

class SysvMemory : public SysvTest {
 protected:
  SharedMemory& segments() { return sysv.memory(); }
  int create(uint64_t size = 5000, int flags = 0600, key_t key = IPC_PRIVATE) {
    const auto id = segments().get(caller(), key, size, flags, confirm);
    return id ? *id : -id.code();
  }
  int attach(int id, uint64_t place, pid_t process = kProcess, int flags = 0) {
    return attach_as(caller(process), id, place, flags);
  }
  int attach_as(const Caller& who, int id, uint64_t place, int flags = 0) {
    return segments().attach(who, id, flags, place, [&](const Attachment& attachment) {
      attached = attachment;
      return true;
    }).code();
  }
  int detach(uint64_t place, pid_t process = kProcess) { return segments().detach(process, place).code(); }
  SharedMemoryStatus status(int id) { return *segments().status(caller(), id, Lookup::kId); }
  bool exists(int id) { return segments().status(caller(), id, Lookup::kId).ok(); }
  Status remove(int id) { return segments().remove(caller(), id, confirm); }

  Attachment attached;
};

TEST_F(SysvMemory, WhatShmgetRefusesInOrder) {
  EXPECT_EQ(-EINVAL, create(0));
  limits.shmmax = 10000;
  EXPECT_EQ(-EINVAL, create(10001));
  EXPECT_EQ(-ENOENT, create(0, 0, 7));
  const int id = create(100, 0600 | IPC_CREAT, 7);
  EXPECT_EQ(0, id);
  EXPECT_EQ(-EEXIST, create(200, IPC_CREAT | IPC_EXCL, 7));
  EXPECT_EQ(-EINVAL, create(101, 0, 7));
  EXPECT_EQ(EACCES, segments().get(stranger(), 7, 100, 0600, confirm).code());
  EXPECT_EQ(id, create(0, 0, 7));
  EXPECT_EQ(id, create(100, 0600, 7));
}

TEST_F(SysvMemory, AsMuchAsShmallAndShmmni) {
  limits.shmall = 3;
  EXPECT_EQ(0, create(8192));
  EXPECT_EQ(-ENOSPC, create(4097));
  EXPECT_EQ(1, create(4096));
  ASSERT_TRUE(remove(0).ok());
  limits.shmmni = 1;
  EXPECT_EQ(-ENOSPC, create(1));
}

TEST_F(SysvMemory, SizesThatNoFileCanHave) {
  limits.shmmax = UINT64_MAX;
  EXPECT_EQ(-ENOSPC, create(UINT64_MAX));
  EXPECT_EQ(-EINVAL, create(uint64_t{1} << 63));
  memory.fails_with = ENOMEM;
  EXPECT_EQ(-ENOMEM, create(INT64_MAX));
  EXPECT_EQ(0u, segments().usage().used_ids);
}

TEST_F(SysvMemory, HugePagesAreRefusedAsWhereThereAreNone) {
  EXPECT_EQ(-EPERM, create(4096, 0600 | SHM_HUGETLB));
  rights.groups = {0};
  EXPECT_EQ(-ENOMEM, create(4096, 0600 | SHM_HUGETLB));
  rights.groups = {};
  rights.locker = true;
  EXPECT_EQ(-ENOMEM, create(4096, 0600 | SHM_HUGETLB | (21 << 26)));
  EXPECT_EQ(-EINVAL, create(4096, 0600 | SHM_HUGETLB | (13 << 26)));
  EXPECT_TRUE(memory.made.empty());
}

TEST_F(SysvMemory, ASegmentIsWholePagesAndShowsWhatWasAskedFor) {
  const int id = create(5000, 0640);
  EXPECT_EQ(std::vector<uint64_t>{8192}, memory.made);
  const SharedMemoryStatus segment = status(id);
  EXPECT_EQ(5000u, segment.segsz);
  EXPECT_EQ(0640u, segment.permissions.mode);
  EXPECT_EQ(kProcess, segment.cpid);
  EXPECT_EQ(0, segment.lpid);
  EXPECT_EQ(0u, segment.nattch);
  EXPECT_EQ(0, segment.atime_s + segment.dtime_s);
  EXPECT_GT(segment.ctime_s, 0);
}

TEST_F(SysvMemory, WithoutASourceThereIsNone) {
  SysvIpc without(Surroundings{tasks, budget, limits, nullptr});
  EXPECT_EQ(ENOSYS, without.memory().get(caller(), IPC_PRIVATE, 1, 0600, confirm).code());
  EXPECT_EQ(0u, without.memory().usage().used_ids);
}

TEST_F(SysvMemory, AttachingCountsAndShowsWhoAndWhen) {
  const int id = create();
  EXPECT_EQ(0, attach(id, 0x1000, 7));
  EXPECT_EQ(5000u, attached.size_bytes);
  EXPECT_GE(attached.file, 0);
  EXPECT_FALSE(attached.read_only || attached.executable);
  EXPECT_EQ(0, attach(id, 0x9000, 7));
  EXPECT_EQ(0, attach(id, 0x1000, 8));
  EXPECT_EQ(3u, status(id).nattch);
  EXPECT_EQ(8, status(id).lpid);
  EXPECT_GT(status(id).atime_s, 0);
  EXPECT_EQ(0, status(id).dtime_s);
  EXPECT_EQ(0, detach(0x9000, 7));
  EXPECT_EQ(2u, status(id).nattch);
  EXPECT_EQ(7, status(id).lpid);
  EXPECT_GT(status(id).dtime_s, 0);
}

TEST_F(SysvMemory, WhatShmatNeeds) {
  const int id = create(100, 0400);
  EXPECT_EQ(EINVAL, attach(-1, 1));
  EXPECT_EQ(EINVAL, attach(99, 1));
  EXPECT_EQ(EACCES, attach(id, 1));
  EXPECT_EQ(EACCES, attach(id, 1, kProcess, SHM_RDONLY | SHM_EXEC));
  EXPECT_EQ(EACCES, attach_as(stranger(), id, 1, SHM_RDONLY));
  EXPECT_EQ(0, attach(id, 1, kProcess, SHM_RDONLY));
  EXPECT_TRUE(attached.read_only);
  EXPECT_EQ(EEXIST, attach(id, 1, kProcess, SHM_RDONLY));
  ASSERT_TRUE(segments().set(caller(), id, {1000, 1000, 0700}, confirm).ok());
  EXPECT_EQ(0, attach(id, 2, kProcess, SHM_EXEC));
  EXPECT_TRUE(attached.executable);
}

TEST_F(SysvMemory, WhatIsAttachedCanMove) {
  const int id = create(), other = create();
  attach(id, 1), attach(other, 5);
  EXPECT_EQ(EINVAL, segments().move(kProcess, 2, 3).code());
  EXPECT_EQ(EINVAL, segments().move(8, 1, 3).code());
  EXPECT_EQ(EEXIST, segments().move(kProcess, 1, 5).code());
  EXPECT_EQ(0, segments().move(kProcess, 1, 1).code());
  EXPECT_EQ(0, segments().move(kProcess, 1, 0x7000).code());
  EXPECT_EQ(id, *segments().attached_at(kProcess, 0x7000));
  EXPECT_EQ(EINVAL, segments().attached_at(kProcess, 1).code());
  EXPECT_EQ(EINVAL, segments().attached_at(8, 1).code());
  EXPECT_EQ(1u, status(id).nattch);
}

TEST_F(SysvMemory, DetachingWhatIsNotThereIsRefused) {
  const int id = create();
  EXPECT_EQ(EINVAL, detach(1));
  attach(id, 1);
  EXPECT_EQ(EINVAL, detach(2));
  EXPECT_EQ(EINVAL, detach(1, 8));
  EXPECT_EQ(0, detach(1));
  EXPECT_EQ(EINVAL, detach(1));
}

TEST_F(SysvMemory, RemovedWhileAttachedItGoesWithTheLast) {
  const int id = create(100, 0600 | IPC_CREAT, 7);
  attach(id, 1, 7), attach(id, 1, 8);
  EXPECT_TRUE(remove(id).ok());
  EXPECT_EQ(0600u | SHM_DEST, status(id).permissions.mode);
  EXPECT_EQ(IPC_PRIVATE, status(id).permissions.key);
  EXPECT_EQ(-ENOENT, create(100, 0, 7));
  // It can still be attached by its id, removed once more, and set.
  EXPECT_EQ(0, attach(id, 2, 8));
  EXPECT_TRUE(remove(id).ok());
  ASSERT_TRUE(segments().set(caller(), id, {1000, 1000, 0640}, confirm).ok());
  EXPECT_EQ(0640u | SHM_DEST, status(id).permissions.mode);
  detach(1, 7), detach(1, 8);
  EXPECT_TRUE(exists(id));
  detach(2, 8);
  EXPECT_FALSE(exists(id));
  EXPECT_EQ(0u, segments().usage().memory_pages);
  EXPECT_EQ(0u, budget.used(1000));
}

TEST_F(SysvMemory, RemovedUnattachedItGoesAtOnce) {
  const int id = create();
  EXPECT_EQ(EPERM, segments().remove(stranger(), id, confirm).code());
  EXPECT_TRUE(remove(id).ok());
  EXPECT_EQ(EINVAL, remove(id).code());
}

TEST_F(SysvMemory, AChildHasAttachedWhatItsParentHas) {
  const int a = create(), b = create();
  attach(a, 1, 7), attach(a, 2, 7), attach(b, 3, 7);
  sysv.process_forked(7, 8);
  sysv.process_forked(7, 8);
  sysv.process_forked(7, 7);
  sysv.process_forked(99, 100);
  EXPECT_EQ(4u, status(a).nattch);
  EXPECT_EQ(2u, status(b).nattch);
  EXPECT_EQ(7, status(a).lpid);
  EXPECT_TRUE(sysv.holds_for(8));
  EXPECT_FALSE(sysv.holds_for(100));
  EXPECT_EQ(0, detach(3, 8));
  EXPECT_EQ(1u, status(b).nattch);
}

TEST_F(SysvMemory, TheEndAndAnotherProgramDetach) {
  const int id = create();
  attach(id, 1, 7), attach(id, 2, 7), attach(id, 1, 8);
  ASSERT_TRUE(remove(id).ok());
  sysv.process_executed(7);
  EXPECT_EQ(1u, status(id).nattch);
  EXPECT_EQ(7, status(id).lpid);
  EXPECT_FALSE(sysv.holds_for(7));
  sysv.process_ended(8);
  EXPECT_FALSE(exists(id));
  sysv.process_ended(8);
}

TEST_F(SysvMemory, ChangingTheIdLeavesWhatIsAttached) {
  const int id = create(100, 0600 | IPC_CREAT, 7);
  attach(id, 1);
  ASSERT_TRUE(sysv.table(Kind::kMemory).change_id(id, 4711).ok());
  EXPECT_EQ(1u, status(4711).nattch);
  EXPECT_EQ(4711, *segments().attached_at(kProcess, 1));
  ASSERT_TRUE(remove(4711).ok());
  EXPECT_EQ(0, detach(1));
  EXPECT_FALSE(exists(4711));
}

TEST_F(SysvMemory, LockingMarksAndRefusesInOrder) {
  const int id = create();
  const auto lock = [&](const Caller& who) { return segments().lock(who, id, confirm).code(); };
  const auto unlock = [&](const Caller& who) { return segments().unlock(who, id, confirm).code(); };
  EXPECT_EQ(EINVAL, segments().lock(caller(), 99, confirm).code());
  EXPECT_EQ(EINVAL, segments().unlock(caller(), 99, confirm).code());
  EXPECT_EQ(EPERM, lock(stranger()));
  rights.memlock_bytes = 0;
  EXPECT_EQ(EPERM, lock(caller()));
  EXPECT_EQ(0, unlock(caller()));
  rights.memlock_bytes = 8191;
  EXPECT_EQ(ENOMEM, lock(caller()));
  rights.memlock_bytes = 8192;
  EXPECT_EQ(0, lock(caller()));
  EXPECT_EQ(0, lock(caller()));
  EXPECT_EQ(0600u | SHM_LOCKED, status(id).permissions.mode);
  const int other = create();
  EXPECT_EQ(ENOMEM, segments().lock(caller(), other, confirm).code());
  EXPECT_EQ(EPERM, unlock(stranger()));
  strange_rights.locker = true;
  EXPECT_EQ(0, unlock(stranger()));
  EXPECT_EQ(0600u, status(id).permissions.mode);
  EXPECT_EQ(0, segments().lock(caller(), other, confirm).code());
  ASSERT_TRUE(remove(other).ok());
  EXPECT_EQ(0, lock(caller()));
}

TEST_F(SysvMemory, UsageAndListsAskTheSource) {
  create(5000), create(1);
  const Usage usage = segments().usage();
  EXPECT_EQ(3u, usage.memory_pages);
  EXPECT_EQ(4u, usage.rss_pages);
  EXPECT_EQ(2u, usage.swap_pages);
  EXPECT_EQ(1, usage.greatest_index);
  EXPECT_EQ(8192u, segments().next_from(1, 1)->rss_bytes);
  EXPECT_FALSE(segments().next_from(2, 1).has_value());
}

TEST_F(SysvMemory, StatusChecksPermissions) {
  const int id = create(100, 0600);
  EXPECT_EQ(EACCES, segments().status(stranger(), id, Lookup::kId).code());
  EXPECT_EQ(EACCES, segments().status(stranger(), id, Lookup::kIndex).code());
  EXPECT_TRUE(segments().status(stranger(), id, Lookup::kIndexUnasked).ok());
  EXPECT_EQ(EPERM, segments().set(stranger(), id, {1, 1, 0}, confirm).code());
  EXPECT_EQ(EINVAL, segments().set(caller(), id, {1, static_cast<gid_t>(-1), 0}, confirm).code());
}

TEST_F(SysvMemory, WhoIsGoneHasDoneNothing) {
  EXPECT_EQ(ESRCH, segments().get(caller(), IPC_PRIVATE, 100, 0600, gone).code());
  EXPECT_EQ(0u, segments().usage().memory_pages);
  EXPECT_EQ(0u, budget.used(1000));
  const int id = create();
  EXPECT_EQ(ESRCH, segments().attach(caller(), id, 0, 1, [](const Attachment&) { return false; }).code());
  EXPECT_FALSE(sysv.holds_for(kProcess));
  EXPECT_EQ(0, status(id).lpid);
  EXPECT_EQ(ESRCH, segments().lock(caller(), id, gone).code());
  EXPECT_EQ(0600u, status(id).permissions.mode);
  EXPECT_EQ(ESRCH, segments().remove(caller(), id, gone).code());
  EXPECT_TRUE(exists(id));
}

TEST_F(SysvMemory, PagesAndAttachmentsAreCharged) {
  MemoryBudget small(100000);
  SysvIpc poor(Surroundings{tasks, small, limits, &memory});
  EXPECT_EQ(ENOMEM, poor.memory().get(caller(), IPC_PRIVATE, 200000, 0600, confirm).code());
  const int id = *poor.memory().get(caller(), IPC_PRIVATE, 90000, 0600, confirm);
  int code = 0;
  for (uint64_t place = 0; place < 1000 && code == 0; ++place) {
    code = poor.memory().attach(caller(), id, 0, place, [](const Attachment&) { return true; }).code();
  }
  EXPECT_EQ(ENOMEM, code);
  poor.process_forked(kProcess, 7);
  poor.process_ended(kProcess);
  poor.process_ended(7);
  ASSERT_TRUE(poor.memory().remove(caller(), id, confirm).ok());
  EXPECT_EQ(0u, small.used(1000));
}

}  // namespace
}  // namespace mqueuefs::ipc::sysv
