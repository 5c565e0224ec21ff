// What the texts under /proc/PID say. Pure: from text to numbers. See proc(5).
//
// The text is the kernel's, but fields in it are the task's (its name): it is read with care.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mqueuefs::daemon {

/// The value after `key` and a colon in /proc/PID/status, without blanks around it.
std::optional<std::string_view> status_field(std::string_view status, std::string_view key);

/// The NSpid line: the task's number in each pid namespace from the reader's down to its own.
std::vector<pid_t> namespace_pids(std::string_view status);

/// CapEff.
uint64_t effective_capabilities(std::string_view status);

/// The real uid, first in the Uid line.
std::optional<uid_t> real_uid(std::string_view status);

/// The effective uid, second in the Uid line.
std::optional<uid_t> effective_uid(std::string_view status);

/// What sched_getattr(2) says, made into the kernel's `prio`: -1 deadline, 0 to 99 real-time, 100 to 139 by nice.
int kernel_priority(uint32_t policy, int nice, uint32_t realtime_priority);

/// Field 22 of /proc/PID/stat: when it started, clock ticks since the system did.
std::optional<uint64_t> start_time_ticks(std::string_view stat);

/// Field 3 of /proc/PID/stat says Z or X: nothing of it runs any more.
bool is_dead_state(std::string_view stat);

/// The State line of /proc/PID/status says T or t: stopped, or traced and stopped.
bool is_stopped_state(std::string_view status);

/// The soft limit of "Max msgqueue size" in /proc/PID/limits, bytes; UINT64_MAX: unlimited.
std::optional<uint64_t> msgqueue_limit(std::string_view limits);
/// The same of RLIMIT_MEMLOCK.
std::optional<uint64_t> memlock_limit(std::string_view limits);

/// The number in what a link such as /proc/PID/ns/ipc says: "ipc:[4026531839]".
std::optional<uint64_t> namespace_inode(std::string_view link);

/// PPid: the parent's process id.
std::optional<pid_t> parent_process(std::string_view status);

/// What the id `inside` is called outside, by /proc/PID/uid_map. Nothing: it is not mapped.
std::optional<uid_t> outside_id(std::string_view map, uid_t inside);
/// What the id `outside` is called inside, by /proc/PID/uid_map. Nothing: it is not mapped.
std::optional<uid_t> mapped_id(std::string_view map, uid_t outside);

}  // namespace mqueuefs::daemon
