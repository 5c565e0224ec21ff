// mqueuefs-bench: the command line. `fs` compares the kernel's queues, the FUSE floor and mqueuefs as file systems,
// `mq` the calls on messages, `sysv` those of System V IPC, each in one run.
#include <benchmark/benchmark.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "fs_rows.h"
#include "mq_rows.h"
#include "report.h"
#include "sandbox.h"
#include "seccomp_rows.h"
#include "sysv_rows.h"

#ifdef MQUEUEFS_HAVE_SEGMENT_BENCH
namespace mqueuefs {
void register_segment_benchmarks();  // segment_bench.cc
}  // namespace mqueuefs
#endif

namespace mqueuefs::bench {
namespace {

struct Options {
  std::string program;
  std::string library;
  std::string preload;
  int rounds = 31;
  int queues = 10'000;
  int namespaces = 1'000;
  int targets = 1'000;
  bool smoke = false;
  bool json = false;
  bool any_processor = false;
  bool one_processor = false;
  std::string command;
  std::vector<std::string> daemon_options;
  std::vector<std::string> rows;
};

// As many descriptors as permitted: the daemon holds one for each queue, and inherits the limit.
void raise_descriptor_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

int bench_fs(const Options& options, const std::string& scratch) {
  World world;
  world.program = options.program;
  world.scratch = scratch;
  world.rounds = options.rounds;
  world.queues = options.queues;
  world.namespaces = options.namespaces;

  // Where the scheduler puts caller and server decides a FUSE request's time more than anything that either does:
  // a wake-up across processors costs several times one on the same. So by default all share one.
  if (!options.any_processor) pin_to_processor(0);
  go_first();

  raise_descriptor_limit();

  const std::string kernel = scratch + "/kernel";
  if (mount_kernel_queues(kernel)) {
    world.kernel = kernel;
    std::ofstream("/proc/sys/fs/mqueue/queues_max") << 1'000'000;
    std::ofstream("/proc/sys/fs/mqueue/msg_max") << 65'536;
  }
  world.floor = scratch + "/floor";
  const Child floor = start_floor(world.floor, options.queues);
  const Child daemon = start_daemon(options.program, scratch);
  world.daemon = daemon.pid();
  world.ours = scratch + "/mqueuefs";
  if (!run_program({options.program, "ns", "create", "bench"}) ||
      !run_program({options.program, "limits", "--ns", "bench", "queues_max=1000000", "msg_max=65536"},
                   Output::kHidden) ||
      !mount_namespace(options.program, "bench", world.ours)) {
    fail("setting up the namespace");
  }

  Report report;
  report.machine = describe_machine() + (options.any_processor ? "" : ", all on one processor");
  report.rounds = options.rounds;
  report.rows.push_back(stat_row(world));
  report.rows.push_back(create_unlink_row(world));
  add_message_rows(world, report);
  add_many_queue_rows(world, report);
  add_namespace_rows(world, report);
  add_segment_rows(world, report);
  options.json ? print_json(report) : print_table(report);
  fflush(stdout);
  return 0;
}

int bench_mq(const Options& options, const std::string& scratch) {
  if (options.one_processor) pin_to_processor(0);
  go_first();
  // boost's queues are files there: these are gone with this process.
  if (mount("bench-shm", "/dev/shm", "tmpfs", 0, "mode=1777") != 0) fail("mount /dev/shm");

  MqWorld world;
  MqReport report;
  world.rounds = options.rounds;
  world.one_processor = options.one_processor;
  if (options.smoke) world.scale = 100;
  if (mount_kernel_queues(scratch + "/kernel")) {
    std::ofstream("/proc/sys/fs/mqueue/msg_max") << 65'536;
    std::ofstream("/proc/sys/fs/mqueue/msgsize_max") << 16 * 1024 * 1024;
    world.contenders.push_back({"kernel", kernel_calls});
  }
  world.floor = scratch + "/floor";
  const Child floor = start_floor(world.floor, 0);
  const Child daemon = start_daemon(options.program, scratch, options.daemon_options);
  setenv("MQUEUEFS_PROGRAM", options.program.c_str(), 1);
  if (!run_program({options.program, "limits", "msg_max=65536", "msgsize_max=16777216"}, Output::kHidden)) {
    fail("setting the limits");
  }
  world.contenders.push_back({"daemon", [&] { return mqueuefs_calls(options.library, Way::kThroughDaemon); }});
  world.contenders.push_back({"mapped", [&] { return mqueuefs_calls(options.library, Way::kMapped); }});
  if (have_boost()) world.contenders.push_back({"boost", boost_calls});

  for (const MessageContender& contender : world.contenders) {
    report.columns.push_back(contender.name);
    if (contender.name == "kernel") report.columns.push_back("floor");
  }
  if (report.columns.front() != "kernel") report.columns.insert(report.columns.begin(), "floor");
  report.machine = describe_machine() + (options.one_processor ? ", all on one processor" : "");
  report.command = options.command;
  report.rounds = options.rounds;
  const auto wanted = [&](const char* rows) {
    return options.rows.empty() || std::find(options.rows.begin(), options.rows.end(), rows) != options.rows.end();
  };
  if (wanted("pair")) add_pair_rows(world, report);
  if (wanted("processes")) add_process_rows(world, report);
  if (wanted("deep")) add_deep_rows(world, report);
  if (wanted("first")) add_first_operation_rows(world, report);
  options.json ? print_json(report) : print_table(report);
  fflush(stdout);
  return 0;
}

int bench_seccomp(const Options& options, const std::string& scratch) {
  if (!options.any_processor) pin_to_processor(0);
  go_first();
  raise_descriptor_limit();
  const Child daemon = start_daemon(options.program, scratch);
  if (!run_program({options.program, "limits", "queues_max=100000"}, Output::kHidden)) fail("limits");
  Report report;
  report.machine = describe_machine() + (options.any_processor ? "" : ", all on one processor");
  report.rounds = options.rounds;
  add_seccomp_rows(options.rounds, options.targets, report);
  options.json ? print_json(report) : print_table(report);
  fflush(stdout);
  return 0;
}

int bench_sysv(const Options& options, const std::string& scratch) {
  if (!options.any_processor) pin_to_processor(0);
  go_first();
  const Child daemon = start_daemon(options.program, scratch, options.daemon_options);
  setenv("MQUEUEFS_PROGRAM", options.program.c_str(), 1);
  // Some rows leave a few objects beside the 32,000 of another one.
  std::ofstream("/proc/sys/kernel/msgmni") << 32'768;
  if (!run_program({options.program, "limits", "msgmni=32768"}, Output::kHidden)) fail("limits");
  SysvWorld world;
  world.preload = options.preload;
  world.library = options.library;
  world.rounds = options.rounds;
  if (options.smoke) world.scale = 100;
  Report report;
  report.machine = describe_machine() + (options.any_processor ? "" : ", all on one processor");
  report.rounds = options.rounds;
  add_sysv_call_rows(world, report);
  add_sysv_look_up_rows(world, report);
  add_sysv_identifier_rows(world, report);
  options.json ? print_json(report) : print_table(report);
  fflush(stdout);
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"Measures mqueuefs beside the kernel's message queues and beside a FUSE file system that does nothing"};
  app.require_subcommand(1);
  Options options;
  // Where the build put the program, seen from this one.
  const auto built = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "src";
  options.program = (built / "cli/mqueuefs").string();
  options.library = (built / "client/libmqueuefs.so.0").string();
  options.preload = (built / "preload/libmqueuefs-preload.so").string();
  for (int index = 0; index < argc; ++index) options.command += (index > 0 ? " " : "") + std::string(argv[index]);
  CLI::App* fs = app.add_subcommand("fs", "the file system: the table of the README");
  fs->add_option("--program", options.program, "the mqueuefs to measure")->check(CLI::ExistingFile);
  fs->add_option("--repeat", options.rounds, "rounds; each value is their median")->check(CLI::Range(1, 1000));
  fs->add_option("--queues", options.queues, "how many for ls -l and memory")->check(CLI::Range(1, 1'000'000));
  fs->add_option("--namespaces", options.namespaces, "how many to mount")->check(CLI::Range(1, 100'000));
  fs->add_flag("--any-processor", options.any_processor, "do not keep everything on one processor");
  fs->add_flag("--smoke", options.smoke, "small numbers: does it run?");
  fs->add_flag("--json", options.json, "for programs");
  CLI::App* mq = app.add_subcommand("mq", "messages: mq_send and mq_receive, on each implementation there is");
  mq->add_option("--program", options.program, "the mqueuefs to measure")->check(CLI::ExistingFile);
  mq->add_option("--library", options.library, "the libmqueuefs to measure")->check(CLI::ExistingFile);
  mq->add_option("--repeat", options.rounds, "rounds; each value is their median")->check(CLI::Range(1, 1000));
  mq->add_option("--rows", options.rows, "only some of: pair, processes, deep, first")->delimiter(',');
  mq->add_option("--daemon-option", options.daemon_options, "for the daemon, as --daemon-option=--busy-poll=0");
  mq->add_flag("--one-processor", options.one_processor, "everything on one processor");
  mq->add_flag("--smoke", options.smoke, "small numbers: does it run?");
  mq->add_flag("--json", options.json, "for programs");
  CLI::App* seccomp = app.add_subcommand("seccomp", "system calls that the daemon answers, beside a supervisor that does nothing");
  seccomp->add_option("--program", options.program, "the mqueuefs to measure")->check(CLI::ExistingFile);
  seccomp->add_option("--repeat", options.rounds, "rounds; each value is their median")->check(CLI::Range(1, 1000));
  seccomp->add_option("--targets", options.targets, "processes at once")->check(CLI::Range(1, 10'000));
  seccomp->add_flag("--any-processor", options.any_processor, "do not keep everything on one processor");
  seccomp->add_flag("--smoke", options.smoke, "small numbers: does it run?");
  seccomp->add_flag("--json", options.json, "for programs");
  CLI::App* sysv = app.add_subcommand("sysv", "System V IPC, beside the kernel's and a socket round trip that does nothing");
  sysv->add_option("--program", options.program, "the mqueuefs to measure")->check(CLI::ExistingFile);
  sysv->add_option("--library", options.library, "the libmqueuefs to measure")->check(CLI::ExistingFile);
  sysv->add_option("--preload", options.preload, "the libmqueuefs-preload to measure")->check(CLI::ExistingFile);
  sysv->add_option("--repeat", options.rounds, "rounds; each value is their median")->check(CLI::Range(1, 1000));
  sysv->add_option("--daemon-option", options.daemon_options, "for the daemon, as --daemon-option=--busy-poll=0");
  sysv->add_flag("--any-processor", options.any_processor, "do not keep everything on one processor");
  sysv->add_flag("--smoke", options.smoke, "small numbers: does it run?");
  sysv->add_flag("--json", options.json, "for programs");
#ifdef MQUEUEFS_HAVE_SEGMENT_BENCH
  CLI::App* segment = app.add_subcommand("segment", "the queue in shared memory alone; options of Google Benchmark");
  segment->allow_extras();
#endif
  CLI11_PARSE(app, argc, argv);

#ifdef MQUEUEFS_HAVE_SEGMENT_BENCH
  if (segment->parsed()) {
    std::vector<std::string> words = segment->remaining();
    std::vector<char*> arguments = {argv[0]};
    for (std::string& word : words) arguments.push_back(word.data());
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    register_segment_benchmarks();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  }
#endif
  if (options.smoke) {
    options.rounds = 2;
    options.queues = 100;
    options.namespaces = 5;
    options.targets = 10;
  }
  options.program = std::filesystem::absolute(options.program).string();
  options.library = std::filesystem::absolute(options.library).string();
  options.preload = std::filesystem::absolute(options.preload).string();
  return run_in_sandbox([&](const std::string& scratch) {
    if (seccomp->parsed()) return bench_seccomp(options, scratch);
    if (sysv->parsed()) return bench_sysv(options, scratch);
    return mq->parsed() ? bench_mq(options, scratch) : bench_fs(options, scratch);
  });
}

}  // namespace
}  // namespace mqueuefs::bench

int main(int argc, char** argv) { return mqueuefs::bench::run(argc, argv); }
