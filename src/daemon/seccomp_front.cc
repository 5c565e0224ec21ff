#include "daemon/seccomp_front.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/socket.h>

#include <utility>

#include "control/announcements.h"
#include "control/messages.h"
#include "control/mount_flags.h"
#include "daemon/notification_delivery.h"
#include "daemon/proc_files.h"

namespace mqueuefs::daemon {
namespace {

constexpr uid_t kUnmappedId = 65534;
// How long the next helper of a namespace waits for the one before.
constexpr int64_t kHelperPatienceMs = 100;
// At work for one namespace: more are frozen targets.
constexpr size_t kMostHelpers = 16;

constexpr char kWokenUp = 1;  // NOTIFY_WOKENUP of linux/mqueue.h
constexpr char kRemoved = 2;  // NOTIFY_REMOVED

/// SIGEV_THREAD of the raw call: the cookie, with its last byte changed, to the target's own socket (doc/behaviour.md F8).
class NetlinkTarget final : public ipc::NotificationTarget {
 public:
  NetlinkTarget(UniqueFd socket, std::string cookie) : socket_(std::move(socket)), cookie_(std::move(cookie)) {}
  void woken(const ipc::Sender&) override { send(kWokenUp); }
  void removed() override { send(kRemoved); }

 private:
  void send(char reason) {
    cookie_.back() = reason;
    sockaddr_nl address{};
    socklen_t length = sizeof address;
    if (getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) < 0) return;
    // To itself. Nobody is left to tell if that fails.
    if (sendto(socket_.get(), cookie_.data(), cookie_.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), length) < 0) {
      spdlog::debug("a thread's notification was not delivered: {}", strerror(errno));
    }
  }
  const UniqueFd socket_;
  std::string cookie_;
};

}  // namespace

SeccompFront::SeccompFront(control::Reactor& reactor, control::Host& host, Tasks& tasks, ipc::MemoryBudget& budget,
                           ChildTasks& children, Mounts& mounts, const Authority& authority,
                           control::Announcements& announcements, std::function<void()> changed)
    : reactor_(reactor),
      host_(host),
      tasks_(tasks),
      budget_(budget),
      children_(children),
      mounts_(mounts),
      authority_(authority),
      announcements_(announcements),
      changed_(std::move(changed)) {}

SeccompFront::~SeccompFront() = default;

Status SeccompFront::serve(UniqueFd listener, std::string namespace_name) {
  if (!seccomp::is_listener(listener.get())) return Error{EINVAL, "not a seccomp listener"};
  const auto place = sessions_.emplace(sessions_.end());
  *place = std::make_shared<seccomp::Session>(reactor_, *this, std::move(listener), std::move(namespace_name),
                                              [this, place] {
                                                sessions_.erase(place);
                                                changed_();
                                              });
  if (const Status started = (*place)->start(); !started) {
    sessions_.erase(place);
    return started;
  }
  return {};
}

uid_t SeccompFront::uid_of(ipc::TaskId task) {
  const auto identity = read_identity(task);
  return identity ? identity->uids[0] : kUnmappedId;
}

bool SeccompFront::is_administrator(ipc::TaskId task) {
  const auto caller = caller_of(task);
  return caller && authority_.is_administrator(*caller);
}

Result<control::Caller> SeccompFront::caller_of(ipc::TaskId task) {
  const auto identity = read_identity(task);
  if (!identity) return identity.error();
  return control::Caller{identity->process, task, identity->uids[1], identity->gids[1]};
}

std::string SeccompFront::line_of(const seccomp::HelperCall& call) {
  if (!call.namespace_name.empty()) return call.namespace_name;
  const auto inode = namespace_inode_of(call.task, "ipc");
  return "/" + std::to_string(inode ? *inode : 0);
}

void SeccompFront::in_line(const std::string& line, std::function<void()> work) {
  Line& place = lines_[line];
  place.waiting.push_back(std::move(work));
  if (place.running == 0 && place.waiting.size() == 1) return next_in_line(line);
  if (place.patience == nullptr) {
    place.patience = reactor_.make_timer([this, line] { next_in_line(line); });
    place.patience->set_delay_ms(kHelperPatienceMs);
  }
}

void SeccompFront::next_in_line(const std::string& line) {
  const auto found = lines_.find(line);
  if (found == lines_.end()) return;
  Line& place = found->second;
  place.patience.reset();
  if (place.waiting.empty()) {
    if (place.running == 0) lines_.erase(found);
    return;
  }
  if (place.running >= kMostHelpers) return;  // the end of one brings us here again
  const auto work = std::move(place.waiting.front());
  place.waiting.pop_front();
  if (!place.waiting.empty()) {
    place.patience = reactor_.make_timer([this, line] { next_in_line(line); });
    place.patience->set_delay_ms(kHelperPatienceMs);
  }
  work();
}

bool SeccompFront::is_retry(const Job& fresh) {
  const auto found = jobs_.find(fresh.call.task);
  if (found == jobs_.end()) return false;
  Job& known = *found->second;
  // A thread makes one call at a time: whatever it did before this is over, or was interrupted.
  if (known.kind == fresh.kind && known.kind != Kind::kMount && known.what == fresh.what &&
      known.call.listener == fresh.call.listener && known.call.namespace_name == fresh.call.namespace_name) {
    known.call.id = fresh.call.id;
    if (known.helper == 0) return true;
    // If the helper has ended, or ends without seeing it, helper_ended() does.
    if (send(known.retries.get(), &known.call.id, sizeof known.call.id, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
      spdlog::debug("a helper process does not listen: {}", strerror(errno));
    return true;
  }
  known.retries.reset();
  jobs_.erase(found);
  return false;
}

void SeccompFront::add(std::shared_ptr<Job> job) {
  if (is_retry(*job)) return;
  jobs_.insert_or_assign(job->call.task, job);
  job->line = line_of(job->call);
  in_line(job->line, [this, job] { begin(job); });
}

void SeccompFront::forget(const std::shared_ptr<Job>& job) {
  const auto found = jobs_.find(job->call.task);
  if (found != jobs_.end() && found->second == job) jobs_.erase(found);
}

void SeccompFront::begin(const std::shared_ptr<Job>& job) {
  const auto refuse = [this, job](int error) {
    if (error != 0) job->call.listener->fail(job->call.id, error);
    forget(job);
    reactor_.run_later([this, line = job->line] { next_in_line(line); });
  };
  if (!job->call.listener->is_valid(job->call.id)) return refuse(0);
  const auto caller = caller_of(job->call.task);
  if (!caller) return refuse(ENOENT);
  host_.open_root(*caller, job->call.namespace_name, [this, job, refuse](Result<UniqueFd> root) {
    if (!root) return refuse(root.code() == EPERM ? EACCES : root.code());
    start_helper(job, std::move(*root));
  });
}

void SeccompFront::start_helper(const std::shared_ptr<Job>& job, UniqueFd directory) {
  int pair[2] = {-1, -1};
  const bool paired = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
  job->retries = UniqueFd(pair[0]);
  const UniqueFd theirs(pair[1]);
  job->helper = !paired ? 0
                        : children_.run_to_end(
                              [&job, &directory, &theirs] {
                                close_all_but({job->call.listener->fd(), directory.get(), theirs.get()});
                                const Reply reply{job->call, theirs.get()};
                                const Status became = become(job->call.task, job->take);
                                became ? job->work(reply, directory.get()) : fail_in_place(reply, became.code());
                                return 0;
                              },
                              [this, job](int code) { helper_ended(job, code); });
  if (job->helper == 0) {
    job->call.listener->fail(job->call.id, ENOMEM);
    forget(job);
    reactor_.run_later([this, line = job->line] { next_in_line(line); });
    return;
  }
  // It can't have been heard yet: that takes the loop.
  if (job->announces) {
    announcements_.put(job->helper, 0, job->what.name,
                       {.attributes = job->what.attributes,
                        .for_neither = (job->what.flags & O_ACCMODE) == O_ACCMODE,
                        .in_place_of = job->call.task});
  }
  ++lines_[job->line].running;
}

void SeccompFront::helper_ended(const std::shared_ptr<Job>& job, int code) {
  announcements_.drop(job->helper);
  const auto found = jobs_.find(job->call.task);
  const bool is_current = found != jobs_.end() && found->second == job;
  forget(job);
  if (const auto line = lines_.find(job->line); line != lines_.end()) --line->second.running;
  if (is_current && job->call.listener->is_valid(job->call.id)) {
    if (code != 0) {
      // Killed, by the system, for want of memory.
      job->call.listener->fail(job->call.id, EIO);
    } else if (job->kind != Kind::kMount) {
      // It answered the call before; this one came while it ended.
      auto again = std::make_shared<Job>();
      again->call = job->call;
      again->kind = job->kind;
      again->what = job->what;
      again->announces = job->announces;
      again->take = job->take;
      again->work = job->work;
      add(std::move(again));
    }
  }
  next_in_line(job->line);
}

void SeccompFront::open_queue(const seccomp::HelperCall& call, const seccomp::OpenCall& what) {
  auto job = std::make_shared<Job>();
  job->call = call;
  job->what = what;
  job->announces = (what.flags & O_CREAT) != 0;
  job->work = [what](const Reply& reply, int root) { open_in_place(reply, what, root); };
  add(std::move(job));
}

void SeccompFront::unlink_queue(const seccomp::HelperCall& call, const std::string& name) {
  auto job = std::make_shared<Job>();
  job->call = call;
  job->kind = Kind::kUnlink;
  job->what.name = name;
  job->announces = true;
  job->work = [name](const Reply& reply, int root) { unlink_in_place(reply, name, root); };
  add(std::move(job));
}

void SeccompFront::mount(const seccomp::HelperCall& call, const seccomp::MountCall& what) {
  const auto caller = caller_of(call.task);
  if (!caller) return;
  auto job = std::make_shared<Job>();
  job->call = call;
  job->kind = Kind::kMount;
  job->take = Take::kCredentialsAndPaths;
  job->line = line_of(call);
  job->work = [target = what.target](const Reply& reply, int mount) { mount_in_place(reply, target, mount); };
  if (is_retry(*job)) return;  // never: but what the thread did before is over
  host_.mount(*caller, call.namespace_name, {.flags = control::mount_flags(what.flags), .source = what.source},
              [this, job](Result<UniqueFd> mount) {
                if (!mount) {
                  job->call.listener->fail(job->call.id, mount.code() == EOPNOTSUPP ? EPERM : mount.code());
                  return;
                }
                jobs_.insert_or_assign(job->call.task, job);
                const auto shared = std::make_shared<UniqueFd>(std::move(*mount));
                in_line(job->line, [this, job, shared] { start_helper(job, std::move(*shared)); });
              });
}

void SeccompFront::set_nonblocking(ipc::TaskId task, int descriptor, uint64_t inode, bool nonblocking,
                                   std::function<void(int)> done) {
  const pid_t child = children_.run_to_end(
      [=] { return set_nonblocking_in_place(task, descriptor, inode, nonblocking); },
      [done](int code) { done(code < 0 ? EIO : code); });
  if (child == 0) done(ENOMEM);
}

std::unique_ptr<ipc::NotificationTarget> SeccompFront::make_signal_target(pid_t process, int signo, uint64_t value) {
  return process == 0 ? nullptr : daemon::make_signal_target(tasks_, children_, process, signo, value);
}

void SeccompFront::make_netlink_target(
    ipc::TaskId task, int descriptor, const std::string& cookie,
    std::function<void(Result<std::unique_ptr<ipc::NotificationTarget>>)> done) {
  children_.run(
      [task, descriptor](ChildReport& report) {
        const auto socket = fetch_netlink_socket(task, descriptor);
        if (!socket) return report.fail(socket.error());
        const int fds[] = {socket->get()};
        report.succeed(fds);
      },
      [cookie, done = std::move(done)](Result<ChildFds> fds) {
        if (!fds) return done(fds.error());
        done(std::unique_ptr<ipc::NotificationTarget>(
            std::make_unique<NetlinkTarget>(std::move((*fds)[0]), cookie)));
      });
}

void SeccompFront::note_misbehaviour(pid_t task, const char* what) { host_.note_misbehaviour(task, 0, what); }

void SeccompFront::note_impossible(pid_t task, const char* what) {
  constexpr size_t kMostNoted = 1024;
  const pid_t process = tasks_.process_of(task);
  if (noted_.size() >= kMostNoted) noted_.clear();
  if (noted_.insert(process).second) spdlog::warn("process {}: {}", process, what);
}

}  // namespace mqueuefs::daemon
