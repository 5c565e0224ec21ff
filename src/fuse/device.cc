#include "fuse/device.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

namespace mqueuefs::fuse {
namespace {

// What is read from any session of this thread. One for all: a thousand sessions would have a gigabyte of
// them. libfuse allocates it when it is first used, by a session before INIT, which is when its size is
// greatest.
thread_local fuse_buf receive_buffer{};

void drop_log(fuse_log_level, const char*, va_list) {}

}  // namespace

Device::~Device() {
  if (session_ != nullptr) fuse_session_destroy(session_);
}

Status Device::connect(UniqueFd fuse_device, const fuse_lowlevel_ops& operations, void* session) {
  // libfuse would write to stderr, of which a daemon has none.
  fuse_set_log_func(drop_log);

  const int flags = fcntl(fuse_device.get(), F_GETFL);
  if (flags < 0 || fcntl(fuse_device.get(), F_SETFL, flags | O_NONBLOCK) < 0) return last_error("fcntl");

  char program[] = "mqueuefs";
  char* arguments[] = {program, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  session_ = fuse_session_new(&args, &operations, sizeof(operations), session);
  fuse_opt_free_args(&args);
  // Each libfuse session takes a key of pthread_key_create(3), of which a process has 1,024: the likely
  // reason.
  if (session_ == nullptr) return Error{EMFILE, "fuse_session_new"};

  const std::string device = "/dev/fd/" + std::to_string(fuse_device.get());
  if (fuse_session_mount(session_, device.c_str()) != 0) return Error{EIO, "fuse_session_mount"};
  fuse_device.release();
  return {};
}

// One request a turn. A caller waits for his answer before he asks again, so a second read would mostly find
// nothing, at the price of one more system call; and a busy namespace does not starve the others.
bool Device::process() {
  const int received = fuse_session_receive_buf(session_, &receive_buffer);
  if (received == -EINTR || received == -EAGAIN || received == -ENOMEM) return true;
  if (received <= 0) return false;  // ENODEV has made it 0; nothing else can be mended by another read
  ++requests_;
  fuse_session_process_buf(session_, &receive_buffer);
  return fuse_session_exited(session_) == 0;
}

}  // namespace mqueuefs::fuse
