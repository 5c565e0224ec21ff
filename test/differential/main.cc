// differential: random programs of message queue calls or of System V IPC, on the kernel and on the emulation, step by step.
//
// Exit codes: 0 no difference; 1 a difference, printed as a short program; 2 usage; 77 can't run here.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>

#include "differential/generate.h"
#include "differential/lockstep.h"
#include "differential/recording.h"
#include "differential/sandbox.h"
#include "differential/shrink.h"

namespace mqueuefs::differential {
namespace {

constexpr size_t kStepsOfAProgram = 150;
constexpr int kCannotRun = 77;

struct Options {
  TargetKind oracle = TargetKind::kKernel, subject = TargetKind::kPreload;
  uint64_t seed = 1;
  long operations = 0;
  double seconds = 0;
  size_t steps = kStepsOfAProgram;
  std::string record, replay;
  long programs = 200;  // to record
  std::set<std::string> without;
  Calls calls = Calls::kBoth;
  bool self_test = false, keep_going = false, verbose = false;
};

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Tester {
 public:
  explicit Tester(const Options& options) : options_(options) {}

  // False: can't run here.
  bool start(bool with_oracle, bool with_subject) {
    with_oracle_ = with_oracle;
    with_subject_ = with_subject;
    return restart();
  }

  struct Run {
    Program program;
    std::optional<Difference> difference;
  };

  // A new program of this seed.
  Run generate(uint64_t seed, RecordedProgram* recorded = nullptr) {
    Generator generator(seed, options_.calls, options_.without);
    Run run;
    Lockstep lockstep(oracle_.get(), subject_.get());
    if (!begin(lockstep, run, generator.is_of_sysv())) return run;
    while (run.program.size() < options_.steps && !run.difference) {
      const Operation operation = generator.next(lockstep.world());
      run.program.push_back(operation);
      Outcomes outcomes;
      if (options_.verbose) fprintf(stderr, "%s\n", to_line(operation).c_str());
      run.difference = lockstep.step(operation, outcomes);
      if (recorded != nullptr) recorded->steps.push_back({operation, outcomes});
    }
    finish(run);
    return run;
  }

  // A given program; steps that make no sense (any more) are left out.
  Run repeat(const Program& program) {
    Run run;
    Lockstep lockstep(oracle_.get(), subject_.get());
    if (!begin(lockstep, run, is_sysv(program))) return run;
    for (const Operation& operation : program) {
      if (run.difference) break;
      if (!lockstep.world().allows(operation)) continue;
      run.program.push_back(operation);
      Outcomes outcomes;
      run.difference = lockstep.step(operation, outcomes);
    }
    finish(run);
    return run;
  }

  Run replay(const RecordedProgram& recorded) {
    Run run;
    Lockstep lockstep(nullptr, subject_.get());
    const bool sysv = std::ranges::any_of(recorded.steps, [](const auto& step) { return is_sysv(step.operation.kind); });
    if (!begin(lockstep, run, sysv)) return run;
    for (const RecordedStep& step : recorded.steps) {
      if (run.difference) break;
      run.program.push_back(step.operation);
      run.difference = lockstep.follow(step.operation, step.outcomes);
    }
    finish(run);
    return run;
  }

  // The shortest that still differs, and how.
  Run shrink_run(const Run& run) {
    Run shortest = run;
    const Program program = shrink(run.program, [&](const Program& candidate) {
      Run again = repeat(candidate);
      if (!again.difference) return false;
      shortest = again;
      return true;
    });
    // As it was run, without the steps that were left out.
    Run last = repeat(program);
    return last.difference ? last : shortest;
  }

 private:
  bool restart() {
    for (const auto& [wanted, sandbox, kind] : {std::tuple(with_oracle_, &oracle_, options_.oracle),
                                                std::tuple(with_subject_, &subject_, options_.subject)}) {
      sandbox->reset();
      if (!wanted) continue;
      *sandbox = std::make_unique<Sandbox>(kind);
      if ((*sandbox)->missing().empty()) continue;
      printf("can't run here: %s\n", (*sandbox)->missing().c_str());
      return false;
    }
    return true;
  }

  bool begin(Lockstep& lockstep, Run& run, bool sysv) {
    if (lockstep.begin(sysv)) return true;
    run.difference = {0, "a sandbox does not answer"};
    finish(run);
    return false;
  }

  // After a difference nobody knows what state they are in.
  void finish(const Run& run) {
    if (run.difference && !restart()) exit(kCannotRun);
  }

  const Options& options_;
  bool with_oracle_ = false, with_subject_ = false;
  std::unique_ptr<Sandbox> oracle_, subject_;
};

void print(const char* title, uint64_t seed, const Tester::Run& run) {
  printf("%s (seed %lu, step %zu of %zu): %s\n", title, seed, run.difference->step, run.program.size(),
         run.difference->text.c_str());
  printf("%s", to_c(run.program).c_str());
  for (const Operation& operation : run.program)
    printf("> %s\n", to_line(operation).c_str());
  fflush(stdout);
}

int record(const Options& options, Tester& tester) {
  std::ofstream file(options.record);
  file << "# Random programs and the Linux kernel's answers; see test/differential/recording.h.\n";
  for (long i = 0; i < options.programs; ++i) {
    RecordedProgram recorded;
    recorded.seed = options.seed + static_cast<uint64_t>(i);
    if (tester.generate(recorded.seed, &recorded).difference) return 1;
    file << to_text(recorded);
  }
  return file.flush() ? 0 : 1;
}

int replay(const Options& options, Tester& tester) {
  std::ifstream file(options.replay);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<RecordedProgram> programs;
  int bad_line = 0;
  if (!file || !from_text(text, programs, bad_line)) {
    fprintf(stderr, "%s:%d: not a recording\n", options.replay.c_str(), bad_line);
    return 2;
  }
  size_t steps = 0, differing = 0;
  for (const RecordedProgram& program : programs) {
    const Tester::Run run = tester.replay(program);
    steps += run.program.size();
    if (!run.difference) continue;
    ++differing;
    print("difference", program.seed, run);
    if (!options.keep_going) break;
  }
  printf("%zu programs, %zu operations, %zu differences\n", programs.size(), steps, differing);
  return differing == 0 ? 0 : 1;
}

int run(const Options& options, Tester& tester) {
  const double start = now();
  long operations = 0, programs = 0, differences = 0;
  for (uint64_t seed = options.seed;; ++seed) {
    if (options.operations > 0 && operations >= options.operations) break;
    if (options.seconds > 0 && now() - start >= options.seconds) break;
    const Tester::Run found = tester.generate(seed);
    operations += static_cast<long>(found.program.size());
    ++programs;
    if (!found.difference) continue;
    ++differences;
    printf("seed %lu differs in step %zu: %s\n", seed, found.difference->step,
           found.difference->text.c_str());
    const Tester::Run shortest = tester.shrink_run(found);
    print("shortest", seed, shortest);
    if (!options.keep_going) break;
  }
  const double seconds = now() - start;
  printf("%ld programs, %ld operations, %.0f s, %.0f operations/s, %ld differences\n", programs, operations,
         seconds, static_cast<double>(operations) / seconds, differences);
  return differences == 0 ? 0 : 1;
}

// The kernel against itself must not differ; against a mistake it must, and the program must get short.
int self_test(Options options) {
  options.oracle = options.subject = TargetKind::kKernel;
  options.operations = 3000;
  {
    Tester tester(options);
    if (!tester.start(true, true)) return kCannotRun;
    if (run(options, tester) != 0) return 1;
  }
  options.subject = TargetKind::kBroken;
  options.calls = Calls::kPosix;
  Tester tester(options);
  if (!tester.start(true, true)) return kCannotRun;
  for (uint64_t seed = options.seed; seed < options.seed + 200; ++seed) {
    const Tester::Run found = tester.generate(seed);
    if (!found.difference) continue;
    const Tester::Run shortest = tester.shrink_run(found);
    print("the mistake", seed, shortest);
    return shortest.program.size() <= 4 ? 0 : 1;
  }
  printf("the mistake was not found\n");
  return 1;
}

bool parse_target(const char* text, TargetKind& target) {
  constexpr const char* kNames[] = {"kernel", "preload", "library", "broken"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (strcmp(text, kNames[i]) != 0) continue;
    target = static_cast<TargetKind>(i);
    return true;
  }
  return false;
}

bool parse_calls(const char* text, Calls& calls) {
  constexpr const char* kNames[] = {"posix", "sysv", "both"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (strcmp(text, kNames[i]) != 0) continue;
    calls = static_cast<Calls>(i);
    return true;
  }
  return false;
}

int usage() {
  fprintf(stderr,
          "usage: differential [--oracle TARGET] [--subject TARGET] [--seed N] [--operations N] [--seconds "
          "N] [--steps N]\n"
          "                    [--calls posix|sysv|both] [--without KIND,...] [--keep-going] [--verbose]\n"
          "       differential --record FILE [--programs N] [--seed N]\n"
          "       differential --replay FILE [--subject TARGET]\n"
          "       differential --self-test\n"
          "TARGET: kernel, preload ($MQUEUEFS_PRELOAD), library ($MQUEUEFS_LIBRARY), broken.\n"
          "$MQUEUEFS_PROGRAM is the program that mounts.\n");
  return 2;
}

int run_main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    bool takes_value = true;
    if (option == "--self-test" || option == "--keep-going" || option == "--verbose") {
      takes_value = false;
      (option == "--self-test" ? options.self_test
       : option == "--verbose" ? options.verbose
                               : options.keep_going) = true;
    } else if (value == nullptr) {
      return usage();
    } else if (option == "--oracle" || option == "--subject") {
      if (!parse_target(value, option == "--oracle" ? options.oracle : options.subject)) return usage();
    } else if (option == "--seed") {
      options.seed = strtoull(value, nullptr, 10);
    } else if (option == "--operations") {
      options.operations = strtol(value, nullptr, 10);
    } else if (option == "--seconds") {
      options.seconds = strtod(value, nullptr);
    } else if (option == "--steps") {
      options.steps = strtoull(value, nullptr, 10);
    } else if (option == "--programs") {
      options.programs = strtol(value, nullptr, 10);
    } else if (option == "--record") {
      options.record = value;
    } else if (option == "--replay") {
      options.replay = value;
    } else if (option == "--calls") {
      if (!parse_calls(value, options.calls)) return usage();
    } else if (option == "--without") {
      std::istringstream kinds(value);
      for (std::string kind; std::getline(kinds, kind, ',');)
        options.without.insert(kind);
    } else {
      return usage();
    }
    if (takes_value) ++i;
  }
  // libmqueuefs has no calls of System V IPC.
  if (options.subject == TargetKind::kLibrary || options.oracle == TargetKind::kLibrary) options.calls = Calls::kPosix;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (options.self_test) return self_test(options);
  Tester tester(options);
  if (!options.record.empty()) return tester.start(true, false) ? record(options, tester) : kCannotRun;
  if (!options.replay.empty()) return tester.start(false, true) ? replay(options, tester) : kCannotRun;
  if (options.operations == 0 && options.seconds == 0) options.operations = 10'000;
  return tester.start(true, true) ? run(options, tester) : kCannotRun;
}

}  // namespace
}  // namespace mqueuefs::differential

int main(int argc, char** argv) {
  using namespace mqueuefs::differential;
  if (argc == 3 && strcmp(argv[1], "--leader") == 0) run_leader(argv[2]);
  if (argc == 3 && strcmp(argv[1], "--after-exec") == 0) run_after_exec(atoi(argv[2]));
  return run_main(argc, argv);
}
