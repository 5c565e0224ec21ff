// Random steps that are worth taking: most of them on queues that exist and descriptors that are open, the
// others wrong in every way there is.
#pragma once

#include <random>
#include <set>

#include "differential/lockstep.h"
#include "differential/operation.h"

namespace mqueuefs::differential {

enum class Calls : int { kPosix, kSysv, kBoth };

class Generator {
 public:
  /// The same seed and the same worlds give the same steps. `without` are kinds that are left out;
  /// also: restart (signals under SA_RESTART), mode3 (access mode 3), bad_data (bad pointers to send from).
  Generator(uint64_t seed, Calls calls, std::set<std::string> without = {})
      : random_(seed),
        without_(std::move(without)),
        threads_(chance(20)),
        sysv_(calls == Calls::kBoth ? chance(50) : calls == Calls::kSysv) {}

  /// Programs are of the one or of the other.
  bool is_of_sysv() const { return sysv_; }

  Operation next(const World& world);

 private:
  int below(int limit) { return static_cast<int>(random_() % static_cast<uint64_t>(limit)); }
  bool chance(int in_hundred) { return below(100) < in_hundred; }
  Kind pick_kind();
  int pick_actor(const World& world, bool ready);
  int pick_slot(const World& world, int actor);
  int pick_free_slot(const World& world, int actor);
  int pick_name();
  int64_t pick_size();
  Operation fill(Kind kind, const World& world);
  void fill_sysv(Operation& operation, const World& world);
  int pick_object(const World& world, Kind kind);

  std::mt19937_64 random_;
  std::set<std::string> without_;
  const bool threads_;  // notifications by SIGEV_THREAD, instead of by signals
  const bool sysv_;
};

}  // namespace mqueuefs::differential
