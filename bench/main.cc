// mqueuefs-bench: the command line. `fs` compares the kernel's queues, the FUSE floor and mqueuefs in one run.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "fs_rows.h"
#include "report.h"
#include "sandbox.h"

#ifdef MQUEUEFS_HAVE_SEGMENT_BENCH
namespace mqueuefs {
void register_segment_benchmarks();  // segment_bench.cc
}  // namespace mqueuefs
#endif

namespace mqueuefs::bench {
namespace {

struct Options {
  std::string program;
  int rounds = 31;
  int queues = 10'000;
  int namespaces = 1'000;
  bool smoke = false;
  bool json = false;
  bool any_processor = false;
};

int bench_fs(const Options& options, const std::string& scratch) {
  World world;
  world.program = options.program;
  world.scratch = scratch;
  world.rounds = options.rounds;
  world.queues = options.queues;
  world.namespaces = options.namespaces;

  // Where the scheduler puts caller and server decides a FUSE request's time more than anything that either does:
  // a wake-up across processors costs several times one on the same. So by default all share one.
  if (!options.any_processor) pin_to_one_processor();
  go_first();

  // As many descriptors as permitted: the daemon holds one for each queue.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

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

int run(int argc, char** argv) {
  CLI::App app{"Measures mqueuefs beside the kernel's message queues and beside a FUSE file system that does nothing"};
  app.require_subcommand(1);
  Options options;
  // Where the build put the program, seen from this one.
  options.program = std::filesystem::weakly_canonical(std::filesystem::read_symlink("/proc/self/exe").parent_path() /
                                                      "../src/cli/mqueuefs").string();
  CLI::App* fs = app.add_subcommand("fs", "the file system: the table of the README");
  fs->add_option("--program", options.program, "the mqueuefs to measure")->check(CLI::ExistingFile);
  fs->add_option("--repeat", options.rounds, "rounds; each value is their median")->check(CLI::Range(1, 1000));
  fs->add_option("--queues", options.queues, "how many for ls -l and memory")->check(CLI::Range(1, 1'000'000));
  fs->add_option("--namespaces", options.namespaces, "how many to mount")->check(CLI::Range(1, 100'000));
  fs->add_flag("--any-processor", options.any_processor, "do not keep everything on one processor");
  fs->add_flag("--smoke", options.smoke, "small numbers: does it run?");
  fs->add_flag("--json", options.json, "for programs");
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
  }
  options.program = std::filesystem::absolute(options.program).string();
  return run_in_sandbox([&](const std::string& scratch) { return bench_fs(options, scratch); });
}

}  // namespace
}  // namespace mqueuefs::bench

int main(int argc, char** argv) { return mqueuefs::bench::run(argc, argv); }
