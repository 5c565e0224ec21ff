// shmop(2), shmctl(2), shmget(2): segments, where they are attached, who counts as attached, and when they end.
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/credentials.h"
#include "support/expect.h"
#include "support/sysv_calls.h"
#include "support/target.h"
#include "support/wait.h"

namespace mqueuefs::test {
namespace {

class SysvMemory : public SysvTest {};

/// Attach memory, which is not to be had behind the system-call front door.
class SysvAttachedMemory : public SysvMemory {};

constexpr size_t kPage = 4096;

shmatt_t attached_to(int id) {
  return status_of_memory(id).shm_nattch;
}

int remove_memory(int id) {
  return shmctl(id, IPC_RMID, nullptr);
}

bool is_gone(int id) {
  shmid_ds status{};
  return shmctl(id, IPC_STAT, &status) != 0 && errno == EINVAL;
}

// Addresses at which nothing is.
char* free_addresses(size_t size_bytes) {
  void* const at = mmap(nullptr, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(at, size_bytes);
  return static_cast<char*>(at);
}

// Whether a byte can be read or written: with SIGSEGV or SIGBUS if not.
sigjmp_buf fault;
bool touch(volatile char* byte, bool write) {
  struct sigaction action {}, segv, bus;
  action.sa_handler = [](int) { siglongjmp(fault, 1); };
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
  bool possible = false;
  if (sigsetjmp(fault, 1) == 0) {
    const char value = *byte;
    if (write) *byte = value;
    possible = true;
  }
  sigaction(SIGSEGV, &segv, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  return possible;
}
bool can_read(char* byte) {
  return touch(byte, false);
}
bool can_write(char* byte) {
  return touch(byte, true);
}

// Segments. shmget(2).

TEST_F(SysvAttachedMemory, ANewSegmentIsZeroAndKeepsWhatIsWritten) {
  in_new_ipc_namespace([] {
    const int id = new_memory(3 * kPage);
    char* const memory = attach(id);
    ASSERT_OK(memory);
    for (size_t at = 0; at < 3 * kPage; ++at)
      ASSERT_EQ(0, memory[at]);
    strcpy(memory + 2 * kPage, "hello");
    ASSERT_OK(shmdt(memory));
    EXPECT_EQ(0u, attached_to(id));
    char* const again = attach(id);
    ASSERT_OK(again);
    EXPECT_STREQ("hello", again + 2 * kPage);
  });
}

TEST_F(SysvAttachedMemory, TheSizeOfANewSegment) {
  in_new_ipc_namespace([] {
    EXPECT_ERRNO(EINVAL, new_memory(0));
    EXPECT_ERRNO(EINVAL, shmget(kKey, 0, IPC_CREAT | 0600));
    for (const size_t size : {size_t{1}, kPage - 1, kPage, kPage + 1, size_t{1} << 24}) {
      SCOPED_TRACE(size);
      const int id = new_memory(size);
      EXPECT_EQ(size, status_of_memory(id).shm_segsz);
      char* const memory = attach(id);
      ASSERT_OK(memory);
      const size_t whole_pages = (size + kPage - 1) / kPage * kPage;
      EXPECT_TRUE(can_write(memory + whole_pages - 1)) << "in whole pages";
      ASSERT_OK(shmdt(memory));
      EXPECT_FALSE(can_read(memory));
      EXPECT_FALSE(can_read(memory + whole_pages - 1));
    }
  });
}

TEST_F(SysvMemory, TheSizeOfAnExistingSegment) {
  in_new_ipc_namespace([] {
    const int id = shmget(kKey, 100, IPC_CREAT | 0600);
    EXPECT_EQ(id, shmget(kKey, 0, 0600));
    EXPECT_EQ(id, shmget(kKey, 1, 0600));
    EXPECT_EQ(id, shmget(kKey, 100, IPC_CREAT | 0600));
    EXPECT_ERRNO(EINVAL, shmget(kKey, 101, 0600)) << "though the page has room";
    EXPECT_ERRNO(EEXIST, shmget(kKey, 101, IPC_CREAT | IPC_EXCL | 0600)) << "before its size";
    run_as(kBob, [] {
      EXPECT_ERRNO(EINVAL, shmget(kKey, 101, 0600)) << "before the permissions";
      EXPECT_ERRNO(EACCES, shmget(kKey, 100, 0600));
    });
  });
}

TEST_F(SysvMemory, H2_Shmmni) {
  in_new_ipc_namespace([] { EXPECT_EQ(4096, Target::current().limit("shmmni")); });
}

TEST_F(SysvMemory, H2_Shmmax) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit("shmmax", 10'000));
    EXPECT_EQ(10'000, Target::current().limit("shmmax"));
    EXPECT_OK(new_memory(10'000));
    EXPECT_ERRNO(EINVAL, new_memory(10'001));
    EXPECT_ERRNO(EINVAL, new_memory(SIZE_MAX));
  });
}

TEST_F(SysvMemory, H2_ShmallCountsPages) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit("shmall", 4));
    const int id = new_memory(2 * kPage + 1);
    ASSERT_OK(id);
    EXPECT_ERRNO(ENOSPC, new_memory(kPage + 1));
    EXPECT_OK(new_memory(1));
    EXPECT_ERRNO(ENOSPC, new_memory(1));
    ASSERT_OK(remove_memory(id));
    EXPECT_OK(new_memory(3 * kPage));
  });
}

TEST_F(SysvAttachedMemory, H2_ARemovedSegmentCountsUntilItIsDetached) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit("shmall", 2));
    ASSERT_EQ(0, Target::current().set_limit("shmmni", 1));
    const int id = new_memory(2 * kPage);
    char* const memory = attach(id);
    ASSERT_OK(memory);
    ASSERT_OK(remove_memory(id));
    EXPECT_ERRNO(ENOSPC, new_memory(1));
    ASSERT_OK(shmdt(memory));
    EXPECT_OK(new_memory(2 * kPage));
  });
}

TEST_F(SysvMemory, H2_TheDefaultLimitsAreNone) {
  in_new_ipc_namespace([] {
    constexpr unsigned long kNone = ULONG_MAX - (1UL << 24);
    EXPECT_EQ(kNone, static_cast<unsigned long>(Target::current().limit("shmmax")));
    EXPECT_EQ(kNone, static_cast<unsigned long>(Target::current().limit("shmall")));
  });
}

TEST_F(SysvAttachedMemory, NoreserveIsAccepted) {
  in_new_ipc_namespace([] {
    const int id = shmget(IPC_PRIVATE, size_t{1} << 36, IPC_CREAT | SHM_NORESERVE | 0600);
    ASSERT_OK(id);
    EXPECT_EQ(0600, status_of_memory(id).shm_perm.mode);
    char* const memory = attach(id);
    ASSERT_OK(memory);
    EXPECT_TRUE(can_write(memory + (size_t{1} << 35)));
  });
}

// Attaching. shmop(2).

TEST_F(SysvAttachedMemory, ProcessesShareIt) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    ASSERT_OK(memory);
    run_in_child([&] {
      strcpy(memory, "inherited");
      char* const other = attach(id);
      ASSERT_OK(other);
      EXPECT_NE(memory, other);
      EXPECT_STREQ("inherited", other);
      strcpy(other, "attached");
    });
    EXPECT_STREQ("attached", memory);
  });
}

TEST_F(SysvAttachedMemory, AttachedForReadingItCanNotBeWrittenNorMadeWritable) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const writable = attach(id);
    strcpy(writable, "hello");
    char* const memory = attach(id, nullptr, SHM_RDONLY);
    ASSERT_OK(memory);
    EXPECT_STREQ("hello", memory);
    EXPECT_FALSE(can_write(memory));
    EXPECT_ERRNO(EACCES, mprotect(memory, kPage, PROT_READ | PROT_WRITE));
    EXPECT_FALSE(can_write(memory));
    EXPECT_OK(mprotect(writable, kPage, PROT_READ));
    EXPECT_FALSE(can_write(writable));
    EXPECT_OK(mprotect(writable, kPage, PROT_READ | PROT_WRITE));
    EXPECT_TRUE(can_write(writable));
  });
}

TEST_F(SysvAttachedMemory, AttachingTakesPermission) {
  in_new_ipc_namespace([] {
    const int readable = new_memory(kPage, 0604), both = new_memory(kPage, 0606), writable = new_memory(kPage, 0602);
    run_as(kBob, [&] {
      EXPECT_ERRNO(EACCES, attach(readable));
      EXPECT_OK(attach(readable, nullptr, SHM_RDONLY));
      EXPECT_OK(attach(both));
      EXPECT_ERRNO(EACCES, attach(writable)) << "writing takes both";
      EXPECT_ERRNO(EACCES, attach(writable, nullptr, SHM_RDONLY));
    });
    EXPECT_TRUE(wait_until([&] { return attached_to(readable) == 0 && attached_to(both) == 0; }));
  });
}

TEST_F(SysvAttachedMemory, ExecTakesThePermissionToExecute) {
  in_new_ipc_namespace([] {
    const int data = new_memory(kPage, 0606), code = new_memory(kPage, 0607);
    run_as(kBob, [&] {
      EXPECT_ERRNO(EACCES, attach(data, nullptr, SHM_EXEC));
      EXPECT_OK(attach(code, nullptr, SHM_EXEC));
      EXPECT_OK(attach(code, nullptr, SHM_EXEC | SHM_RDONLY));
    });
#ifdef __x86_64__
    char* const memory = attach(code, nullptr, SHM_EXEC);
    ASSERT_OK(memory);
    memcpy(memory, "\xb8\x2a\x00\x00\x00\xc3", 6);  // mov $42, %eax; ret
    EXPECT_EQ(42, reinterpret_cast<int (*)()>(memory)());
#endif
  });
}

TEST_F(SysvAttachedMemory, AtTheAddressAskedFor) {
  in_new_ipc_namespace([] {
    const int id = new_memory(2 * kPage);
    char* const wanted = free_addresses(2 * kPage);
    ASSERT_EQ(wanted, attach(id, wanted));
    EXPECT_TRUE(can_write(wanted + 2 * kPage - 1));
    EXPECT_ERRNO(EINVAL, attach(id, wanted)) << "taken";
    EXPECT_ERRNO(EINVAL, attach(id, wanted - kPage)) << "half of it";
    EXPECT_EQ(1u, attached_to(id));
  });
}

TEST_F(SysvAttachedMemory, AnAddressNotOfAPageIsEinvalOrRoundedDown) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const wanted = free_addresses(kPage);
    EXPECT_ERRNO(EINVAL, attach(id, wanted + 1));
    EXPECT_ERRNO(EINVAL, attach(id, wanted + kPage - 1, SHM_RDONLY));
    EXPECT_EQ(wanted, attach(id, wanted + 123, SHM_RND));
    EXPECT_EQ(1u, attached_to(id));
    EXPECT_OK(shmdt(wanted));
    EXPECT_EQ(wanted, attach(id, wanted, SHM_RND));
  });
}

TEST_F(SysvAttachedMemory, RemapTakesThePlaceOfWhatIsThere) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage), other = new_memory(kPage);
    auto* const pages = static_cast<char*>(
        mmap(nullptr, 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    memset(pages, 'x', 3 * kPage);
    EXPECT_ERRNO(EINVAL, attach(id, pages + kPage));
    ASSERT_EQ(pages + kPage, attach(id, pages + kPage, SHM_REMAP));
    EXPECT_EQ('x', pages[kPage - 1]);
    EXPECT_EQ(0, pages[kPage]);
    EXPECT_EQ('x', pages[2 * kPage]);
    ASSERT_EQ(pages + kPage, attach(other, pages + kPage + 5, SHM_REMAP | SHM_RND));
    EXPECT_EQ(1u, attached_to(other));
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 0; })) << "replaced";
    EXPECT_ERRNO(EINVAL, attach(id, nullptr, SHM_REMAP)) << "wants an address";
  });
}

TEST_F(SysvAttachedMemory, WhatIsNoneIsEinval) {
  in_new_ipc_namespace([] {
    EXPECT_ERRNO(EINVAL, attach(-1));
    EXPECT_ERRNO(EINVAL, attach(0));
    const int id = new_memory(kPage);
    EXPECT_ERRNO(EINVAL, attach(id, reinterpret_cast<void*>(UINTPTR_MAX - kPage + 1))) << "reaches beyond the end";
    ASSERT_OK(remove_memory(id));
    EXPECT_ERRNO(EINVAL, attach(id));
  });
}

TEST_F(SysvAttachedMemory, NoRoomInTheAddressSpaceIsEnomem) {
  in_new_ipc_namespace([] {
    const int id = new_memory(size_t{1} << 30);
    run_in_child([&] {
      const rlimit little{size_t{1} << 29, size_t{1} << 29};
      ASSERT_OK(setrlimit(RLIMIT_AS, &little));
      EXPECT_ERRNO(ENOMEM, attach(id));
    });
    EXPECT_EQ(0u, attached_to(id));
    EXPECT_EQ(0, status_of_memory(id).shm_lpid == getpid() ? 1 : 0);
  });
}

// Detaching. shmop(2).

TEST_F(SysvAttachedMemory, DetachingWhatIsNotAttachedIsEinval) {
  in_new_ipc_namespace([] {
    const int id = new_memory(2 * kPage);
    char* const memory = attach(id);
    ASSERT_OK(memory);
    EXPECT_ERRNO(EINVAL, shmdt(nullptr));
    EXPECT_ERRNO(EINVAL, shmdt(memory + 1));
    EXPECT_ERRNO(EINVAL, shmdt(memory + kPage)) << "not its beginning";
    auto* const other = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_ERRNO(EINVAL, shmdt(other));
    EXPECT_TRUE(can_read(static_cast<char*>(other)));
    EXPECT_EQ(1u, attached_to(id));
    EXPECT_OK(shmdt(memory));
    EXPECT_ERRNO(EINVAL, shmdt(memory));
  });
}

TEST_F(SysvAttachedMemory, DetachingNothingChangesNothing) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    EXPECT_ERRNO(EINVAL, shmdt(nullptr));
    EXPECT_ERRNO(EINVAL, shmdt(reinterpret_cast<void*>(1)));
    ASSERT_OK(attach(id));
    EXPECT_ERRNO(EINVAL, shmdt(nullptr));
    EXPECT_EQ(1u, attached_to(id));
    run_in_child([&] { EXPECT_EQ(2u, attached_to(id)) << "inherited all the same"; });
  });
}

TEST_F(SysvAttachedMemory, EachAttachmentCountsAndIsDetachedByItself) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    std::vector<char*> attachments;
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(attachments.size(), attached_to(id));
      attachments.push_back(attach(id, nullptr, i % 2 == 0 ? 0 : SHM_RDONLY));
      ASSERT_OK(attachments.back());
    }
    attachments[0][0] = 'x';
    while (!attachments.empty()) {
      EXPECT_EQ('x', attachments.back()[0]);
      EXPECT_EQ(attachments.size(), attached_to(id));
      ASSERT_OK(shmdt(attachments.back()));
      EXPECT_FALSE(can_read(attachments.back()));
      attachments.pop_back();
    }
    EXPECT_EQ(0u, attached_to(id));
  });
}

TEST_F(SysvAttachedMemory, ThreadsShareAttachments) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* memory = nullptr;
    std::thread([&] { memory = attach(id); }).join();
    ASSERT_OK(memory);
    EXPECT_TRUE(can_write(memory));
    EXPECT_EQ(1u, attached_to(id)) << "a thread's end detaches nothing";
    std::thread([&] { EXPECT_OK(shmdt(memory)); }).join();
    EXPECT_EQ(0u, attached_to(id));
  });
}

TEST_F(SysvAttachedMemory, AChildInheritsAttachmentsAndTheyCount) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const first = attach(id);
    ASSERT_OK(attach(id));
    Gate end;
    {
      Companion child([&] {
        EXPECT_EQ(4u, attached_to(id));
        EXPECT_OK(shmdt(first));
        EXPECT_EQ(3u, attached_to(id));
        end.wait();
      });
      EXPECT_TRUE(wait_until([&] { return attached_to(id) == 3; }));
      EXPECT_TRUE(can_read(first));
      end.open();
    }
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 2; }));
  });
}

TEST_F(SysvAttachedMemory, AChildsChildToo) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    Gate end;
    Companion child([&] {
      run_in_child([&] {
        EXPECT_EQ(3u, attached_to(id));
        EXPECT_OK(shmdt(memory));
        EXPECT_EQ(2u, attached_to(id));
      });
      end.wait();
    });
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 2; }));
    end.open();
    child.join();
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 1; }));
  });
}

TEST_F(SysvAttachedMemory, TheEndOfAProcessDetaches) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    for (const bool killed : {false, true}) {
      SCOPED_TRACE(killed);
      Gate done;
      Companion process([&] {
        ASSERT_OK(attach(id));
        ASSERT_OK(attach(id));
        done.open();
        if (killed) pause();
      });
      done.wait();
      if (killed) {
        EXPECT_EQ(2u, attached_to(id));
        process.kill();
      }
      process.join();
      EXPECT_TRUE(wait_until([&] { return attached_to(id) == 0; }));
    }
  });
}

TEST_F(SysvAttachedMemory, ExecDetaches) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    int ends[2];
    ASSERT_OK(pipe(ends));
    Companion process([&] {
      ASSERT_OK(attach(id));
      dup2(ends[0], 0);
      close(ends[1]);
      execl("/bin/cat", "cat", nullptr);
    });
    close(ends[0]);
    ASSERT_TRUE(wait_until([&] { return status_of_memory(id).shm_dtime != 0; }));
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 0; }));
    EXPECT_EQ(0, kill(process.pid(), 0)) << "while it goes on";
    close(ends[1]);
  });
}

// shm_close() of ipc/shm.c, when the old program's memory goes: so whoever attaches then is the last.
TEST_F(SysvAttachedMemory, ExecDetachesBeforeWhatComesNext) {
  // What exec closes may be closed from either end: we learn of it before everything else is, or after.
  for (const int number : {0, 1000}) {
    SCOPED_TRACE(number);
    in_new_ipc_namespace([number] {
      const int id = new_memory(kPage);
      ASSERT_OK(attach(id));
      int executed[2], end[2];
      ASSERT_OK(pipe(executed));
      ASSERT_OK(pipe(end));
      Companion process([&] {
        const std::string input = "/proc/self/fd/" + std::to_string(end[0]);
        close(end[1]);
        dup3(executed[1], number, O_CLOEXEC);
        close(executed[1]);
        execl("/bin/cat", "cat", input.c_str(), nullptr);
      });
      close(executed[1]);
      char nothing;
      ASSERT_EQ(0, read(executed[0], &nothing, 1));
      ASSERT_OK(attach(id));
      EXPECT_EQ(getpid(), status_of_memory(id).shm_lpid);
      EXPECT_EQ(2, attached_to(id));
      for (const int fd : {executed[0], end[0], end[1]}) close(fd);
    });
  }
}

TEST_F(SysvAttachedMemory, AProgramThatIsSpawnedInheritsNothing) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    int ends[2];
    ASSERT_OK(pipe(ends));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    pid_t pid = -1;
    char name[] = "cat";
    char* const argv[] = {name, nullptr};
    ASSERT_EQ(0, posix_spawn(&pid, "/bin/cat", &actions, nullptr, argv, environ));
    EXPECT_EQ(1u, attached_to(id));
    EXPECT_TRUE(can_write(memory));
    close(ends[1]);
    EXPECT_EQ(pid, waitpid(pid, nullptr, 0));
    EXPECT_EQ(1u, attached_to(id));
    EXPECT_EQ(0, system("true"));
    EXPECT_EQ(1u, attached_to(id));
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
  });
}

// The kernel knows an attachment by its mapping, however that goes.
TEST_F(SysvAttachedMemory, UnmappingDetaches) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    ASSERT_OK(munmap(memory, kPage));
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 0; }));
    EXPECT_ERRNO(EINVAL, shmdt(memory));
  });
}

// Removing. shmctl(2).

TEST_F(SysvAttachedMemory, RemovedWhileNobodyIsAttachedItIsGone) {
  in_new_ipc_namespace([] {
    const int id = shmget(kKey, kPage, IPC_CREAT | 0600);
    ASSERT_OK(remove_memory(id));
    EXPECT_TRUE(is_gone(id));
    EXPECT_ERRNO(ENOENT, shmget(kKey, 0, 0));
  });
}

TEST_F(SysvAttachedMemory, RemovedWhileAttachedItStaysUntilItIsDetached) {
  in_new_ipc_namespace([] {
    const int id = shmget(kKey, kPage, IPC_CREAT | 0640);
    char* const memory = attach(id);
    strcpy(memory, "hello");
    ASSERT_OK(remove_memory(id));
    const shmid_ds status = status_of_memory(id);
    EXPECT_EQ(0640 | SHM_DEST, status.shm_perm.mode);
    EXPECT_EQ(0, status.shm_perm.__key) << "IPC_PRIVATE";
    EXPECT_EQ(1u, status.shm_nattch);
    EXPECT_ERRNO(ENOENT, shmget(kKey, 0, 0));
    EXPECT_STREQ("hello", memory);
    EXPECT_OK(remove_memory(id)) << "again";
    // The key can be taken by another one.
    const int other = shmget(kKey, kPage, IPC_CREAT | IPC_EXCL | 0600);
    EXPECT_OK(other);
    EXPECT_NE(id, other);
    ASSERT_OK(shmdt(memory));
    EXPECT_TRUE(is_gone(id));
    EXPECT_EQ(other, shmget(kKey, 0, 0));
  });
}

TEST_F(SysvAttachedMemory, RemovedWhileAttachedItCanBeAttachedByItsId) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    strcpy(memory, "hello");
    ASSERT_OK(remove_memory(id));
    run_in_child([&] {
      char* const other = attach(id);
      ASSERT_OK(other);
      EXPECT_STREQ("hello", other);
    });
    char* const again = attach(id);
    ASSERT_OK(again);
    ASSERT_OK(shmdt(memory));
    EXPECT_STREQ("hello", again);
    EXPECT_FALSE(is_gone(id));
    ASSERT_OK(shmdt(again));
    EXPECT_TRUE(is_gone(id));
  });
}

TEST_F(SysvAttachedMemory, RemovedItGoesWithTheLastProcess) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    Gate attached, end;
    Companion process([&] {
      ASSERT_OK(attach(id));
      attached.open();
      end.wait();
    });
    attached.wait();
    ASSERT_OK(remove_memory(id));
    EXPECT_FALSE(is_gone(id));
    end.open();
    process.join();
    EXPECT_TRUE(wait_until([&] { return is_gone(id); }));
  });
}

// shmget(2): the mode of a removed one can still be set.
TEST_F(SysvAttachedMemory, SetKeepsTheMarksOfTheMode) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    char* const memory = attach(id);
    ASSERT_OK(remove_memory(id));
    shmid_ds status = status_of_memory(id);
    status.shm_perm.mode = 0644;
    ASSERT_OK(shmctl(id, IPC_SET, &status));
    EXPECT_EQ(0644 | SHM_DEST, status_of_memory(id).shm_perm.mode);
    ASSERT_OK(shmdt(memory));
    EXPECT_TRUE(is_gone(id));
  });
}

// What a segment tells of itself. shmctl(2).

TEST_F(SysvAttachedMemory, StatShowsWhoDidWhatWhen) {
  in_new_ipc_namespace([] {
    const time_t before = time(nullptr);
    const int id = new_memory(123, 0640);
    shmid_ds status = status_of_memory(id);
    EXPECT_EQ(123u, status.shm_segsz);
    EXPECT_EQ(getpid(), status.shm_cpid);
    EXPECT_EQ(0, status.shm_lpid);
    EXPECT_EQ(0, status.shm_atime);
    EXPECT_EQ(0, status.shm_dtime);
    EXPECT_LE(before, status.shm_ctime);
    EXPECT_EQ(0u, status.shm_nattch);
    EXPECT_EQ(0640, status.shm_perm.mode);
    Gate attached, end;
    {
      Companion process([&] {
        char* const memory = attach(id);
        attached.open();
        end.wait();
        EXPECT_OK(shmdt(memory));
      });
      attached.wait();
      status = status_of_memory(id);
      EXPECT_EQ(process.pid(), status.shm_lpid);
      EXPECT_LE(before, status.shm_atime);
      EXPECT_EQ(0, status.shm_dtime);
      end.open();
    }
    status = status_of_memory(id);
    EXPECT_LE(before, status.shm_dtime);
    char* const memory = attach(id);
    EXPECT_EQ(getpid(), status_of_memory(id).shm_lpid);
    run_in_child([&] { EXPECT_OK(shmdt(memory)); });
    EXPECT_NE(getpid(), status_of_memory(id).shm_lpid) << "the child detached";
    EXPECT_EQ(getpid(), status_of_memory(id).shm_cpid);
  });
}

TEST_F(SysvAttachedMemory, ProcessesAreShownAsTheReaderNumbersThem) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    in_new_pid_namespace([&] {
      EXPECT_EQ(0, status_of_memory(id).shm_cpid) << "not to be seen from here";
      ASSERT_OK(attach(id));
      EXPECT_EQ(1, status_of_memory(id).shm_lpid);
      EXPECT_EQ(1, status_of_memory(new_memory(1)).shm_cpid);
    });
    EXPECT_EQ(getpid(), status_of_memory(id).shm_cpid);
  });
}

TEST_F(SysvMemory, H2_InfoTellsTheLimits) {
  in_new_ipc_namespace([] {
    ASSERT_EQ(0, Target::current().set_limit("shmmax", 1 << 20));
    ASSERT_EQ(0, Target::current().set_limit("shmall", 1000));
    shminfo info{};
    ASSERT_OK(shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&info)));
    EXPECT_EQ(1ul << 20, info.shmmax);
    EXPECT_EQ(1ul, info.shmmin);
    EXPECT_EQ(4096ul, info.shmmni);
    EXPECT_EQ(4096ul, info.shmseg);
    EXPECT_EQ(1000ul, info.shmall);
  });
}

TEST_F(SysvAttachedMemory, ShmInfoCountsWhatThereIs) {
  in_new_ipc_namespace([] {
    shm_info info{};
    const int first = new_memory(kPage + 1);
    ASSERT_OK(new_memory(1));
    EXPECT_EQ(1, shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info)));
    EXPECT_EQ(2, info.used_ids);
    EXPECT_EQ(3ul, info.shm_tot) << "pages";
    EXPECT_EQ(0ul, info.shm_rss) << "nothing was touched";
    EXPECT_EQ(0ul, info.shm_swp);
    char* const memory = attach(first);
    memory[0] = 'x';
    EXPECT_EQ(1, shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info)));
    EXPECT_EQ(1ul, info.shm_rss);
    ASSERT_OK(shmdt(memory));
    ASSERT_OK(remove_memory(first));
    EXPECT_EQ(1, shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&info)));
    EXPECT_EQ(1, info.used_ids);
    EXPECT_EQ(1ul, info.shm_tot);
  });
}

// SHM_LOCK. shmctl(2).

TEST_F(SysvAttachedMemory, LockIsShownInTheMode) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    ASSERT_OK(shmctl(id, SHM_LOCK, nullptr));
    EXPECT_EQ(0600 | SHM_LOCKED, status_of_memory(id).shm_perm.mode);
    EXPECT_OK(shmctl(id, SHM_LOCK, nullptr)) << "again";
    char* const memory = attach(id);
    EXPECT_TRUE(can_write(memory));
    ASSERT_OK(shmctl(id, SHM_UNLOCK, nullptr));
    EXPECT_EQ(0600, status_of_memory(id).shm_perm.mode);
    EXPECT_OK(shmctl(id, SHM_UNLOCK, nullptr));
    EXPECT_ERRNO(EINVAL, shmctl(777, SHM_LOCK, nullptr));
  });
}

TEST_F(SysvMemory, LockIsForOwnersWhoMayLockMemoryAndForCapIpcLock) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage, 0666);
    run_as(kBob, [&] {
      EXPECT_ERRNO(EPERM, shmctl(id, SHM_LOCK, nullptr));
      EXPECT_ERRNO(EPERM, shmctl(id, SHM_UNLOCK, nullptr));
      const int own = new_memory(kPage, 0600);
      EXPECT_OK(shmctl(own, SHM_LOCK, nullptr));
      const rlimit none{0, 0};
      ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &none));
      EXPECT_ERRNO(EPERM, shmctl(own, SHM_LOCK, nullptr));
      EXPECT_OK(shmctl(own, SHM_UNLOCK, nullptr));
    });
  });
}

TEST_F(SysvAttachedMemory, NoDescriptorIsLeftOpen) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    ASSERT_OK(shmdt(attach(id)));  // what is opened once for all
    const int lowest = dup(0);
    close(lowest);
    for (int i = 0; i < 50; ++i)
      ASSERT_OK(attach(id));
    const int after = dup(0);
    EXPECT_EQ(lowest, after);
    close(after);
    EXPECT_EQ(50u, attached_to(id));
  });
}

TEST_F(SysvAttachedMemory, ManyProcessesAttachAndDetach) {
  in_new_ipc_namespace([] {
    const int id = new_memory(kPage);
    for (int round = 0; round < 5; ++round) {
      std::vector<std::unique_ptr<Companion>> processes;
      for (int i = 0; i < 4; ++i) {
        processes.push_back(std::make_unique<Companion>([&, i] {
          for (int turn = 0; turn < 20; ++turn) {
            char* const memory = attach(id);
            ASSERT_OK(memory);
            __atomic_fetch_add(reinterpret_cast<int*>(memory), 1, __ATOMIC_SEQ_CST);
            if ((turn + i) % 3 == 0) continue;  // left to its end
            EXPECT_OK(shmdt(memory));
          }
        }));
      }
    }
    EXPECT_TRUE(wait_until([&] { return attached_to(id) == 0; }));
    EXPECT_EQ(400, *reinterpret_cast<int*>(attach(id)));
  });
}

}  // namespace
}  // namespace mqueuefs::test
