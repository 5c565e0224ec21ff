#include "client/notify_thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>

#include "client/connection.h"
#include "client/descriptors.h"
#include "client/pool.h"
#include "client/transfer.h"
#include "control/queue_ioctl.h"

namespace mqueuefs::client {
namespace {

struct Registration {
  uint64_t number;
  void (*function)(sigval);
  sigval value;
  pthread_attr_t attributes;
  Registration* next;
};

// All zeroes is its beginning: a forked child's.
struct Table {
  pthread_mutex_t lock;
  bool has_helper;
  uint64_t channel;  // the helper's
  SocketIdentity socket;
  int fd;
  uint64_t last_number;
  Registration* first;
};

constinit std::atomic<Table*> mapped{nullptr};

Table* table() {
  Table* known = mapped.load(std::memory_order_acquire);
  if (known != nullptr) return known;
  void* const memory = mmap(nullptr, sizeof(Table), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  madvise(memory, sizeof(Table), MADV_WIPEONFORK);
  if (mapped.compare_exchange_strong(known, static_cast<Table*>(memory))) return static_cast<Table*>(memory);
  munmap(memory, sizeof(Table));
  return known;
}

class Locked {
 public:
  explicit Locked(Table& table) : table_(table) { pthread_mutex_lock(&table_.lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() { pthread_mutex_unlock(&table_.lock); }

 private:
  Table& table_;
};

// What a thread can be given, one by one: a plain copy would share what its owner may free.
void copy_attributes(pthread_attr_t& to, const pthread_attr_t& from) {
  size_t bytes = 0;
  int number = 0;
  sched_param parameters{};
  void* stack = nullptr;
  cpu_set_t cpus;
  if (pthread_attr_getguardsize(&from, &bytes) == 0) pthread_attr_setguardsize(&to, bytes);
  if (pthread_attr_getinheritsched(&from, &number) == 0) pthread_attr_setinheritsched(&to, number);
  if (pthread_attr_getschedpolicy(&from, &number) == 0) pthread_attr_setschedpolicy(&to, number);
  if (pthread_attr_getschedparam(&from, &parameters) == 0) pthread_attr_setschedparam(&to, &parameters);
  if (pthread_attr_getscope(&from, &number) == 0) pthread_attr_setscope(&to, number);
  if (pthread_attr_getaffinity_np(&from, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) < CPU_SETSIZE) {
    pthread_attr_setaffinity_np(&to, sizeof cpus, &cpus);
  }
  if (pthread_attr_getstacksize(&from, &bytes) == 0) pthread_attr_setstacksize(&to, bytes);
  // Without a stack of its own it shows one that ends at address 0.
  if (pthread_attr_getstack(&from, &stack, &bytes) == 0 && reinterpret_cast<uintptr_t>(stack) + bytes != 0) {
    pthread_attr_setstack(&to, stack, bytes);
  }
}

void destroy(Registration* registration) {
  pthread_attr_destroy(&registration->attributes);
  free(registration);
}

Registration* take_out(Table& table, uint64_t number) {
  for (Registration** place = &table.first; *place != nullptr; place = &(*place)->next) {
    if ((*place)->number == number) return std::exchange(*place, (*place)->next);
  }
  return nullptr;
}

void* run_function(void* argument) {
  auto* registration = static_cast<Registration*>(argument);
  void (*const function)(sigval) = registration->function;
  const sigval value = registration->value;
  destroy(registration);
  // The helper has all signals blocked, and the new thread took that from it.
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  function(value);
  return nullptr;
}

void on_event(const control::NotifyThread& event, void*) {
  Registration* registration = nullptr;
  {
    Locked locked(*table());
    registration = take_out(*table(), event.value);
  }
  if (registration == nullptr) return;
  constexpr uint32_t kWoken = 1;
  pthread_t thread;
  if (event.reason != kWoken || pthread_create(&thread, &registration->attributes, run_function, registration) != 0) {
    destroy(registration);
  }
}

void* run_helper(void* argument) {
  auto* given = static_cast<Connection*>(argument);
  {
    Connection connection(std::move(*given));
    given->~Connection();
    free(given);
    connection.set_notify_handler(on_event, nullptr);
    static_cast<void>(connection.take_notifications());
    Locked locked(*table());
    if (table()->channel == connection.channel()) table()->has_helper = false;
    // A program that closed the descriptor may have another one there.
    if (identity_of(connection.fd()) != table()->socket) connection.release();
  }
  return nullptr;
}

Status start_helper(Table& table) {
  auto connection = Connection::connect(StartDaemon::kIfNone, daemon_program());
  if (!connection) return connection.error();
  void* const memory = malloc(sizeof(Connection));
  if (memory == nullptr) return Error{ENOMEM, "malloc"};
  table.channel = connection->channel();
  table.fd = connection->fd();
  table.socket = identity_of(table.fd);
  auto* const given = new (memory) Connection(std::move(*connection));

  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int failed = pthread_create(&thread, &detached, run_helper, given);
  pthread_attr_destroy(&detached);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (failed != 0) {
    given->~Connection();
    free(given);
    return Error{failed, "pthread_create"};
  }
  table.has_helper = true;
  return {};
}

Registration* make_registration(const sigevent& event) {
  auto* registration = static_cast<Registration*>(calloc(1, sizeof(Registration)));
  if (registration == nullptr) return nullptr;
  registration->function = event.sigev_notify_function;
  registration->value = event.sigev_value;
  pthread_attr_init(&registration->attributes);
  if (event.sigev_notify_attributes != nullptr) {
    copy_attributes(registration->attributes, *event.sigev_notify_attributes);
  }
  pthread_attr_setdetachstate(&registration->attributes, PTHREAD_CREATE_DETACHED);
  return registration;
}

}  // namespace

Status notify_by_thread(int queue, const sigevent& event) {
  if (table() == nullptr) return Error{ENOMEM, "mmap"};
  Registration* const registration = make_registration(event);
  if (registration == nullptr) return Error{ENOMEM, "malloc"};
  Table& all = *table();
  control::NotifyHeader header{};
  {
    Locked locked(all);
    if (!all.has_helper || identity_of(all.fd) != all.socket) {
      if (const Status started = start_helper(all); !started) {
        destroy(registration);
        return started;
      }
    }
    // In the table before the daemon may speak of it.
    registration->number = ++all.last_number;
    registration->next = std::exchange(all.first, registration);
    header.register_it = 1;
    header.type = SIGEV_THREAD;
    header.value = registration->number;
    header.channel = all.channel;
  }
  const auto asked = ask(queue, control::queue_ioctl(control::QueueIoctl::kNotify, sizeof header), &header, "notify");
  if (asked) return {};
  {
    Locked locked(all);
    take_out(all, header.value);
  }
  destroy(registration);
  return asked.error();
}

}  // namespace mqueuefs::client
