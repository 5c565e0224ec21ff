// Which capabilities (capabilities(7)) the daemon keeps, and for what. Everything else goes at the start, from the
// permitted, effective, inheritable, ambient and bounding sets, so that neither the daemon nor what it executes gets
// it back. A daemon without any, an ordinary user's, keeps none.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "daemon/features.h"

namespace mqueuefs::daemon {

struct KeptCapability {
  int number;
  const char* name;  ///< "CAP_KILL"
  const char* use;
};

/// mqueuefsd(8) lists the same; a test holds that, and that the unit's CapabilityBoundingSet does too.
std::span<const KeptCapability> kept_capabilities();

/// Gives up all others, for good; where mounting is permitted also CAP_SETFCAP. Errors: those of capset(2). Bits of the bounding set that may not be dropped
/// (without CAP_SETPCAP) stay: there is nothing then that could be executed with them.
Status drop_other_capabilities(const Features& features);

/// `wanted` as permitted and effective capabilities, as far as they are permitted now.
Status set_capabilities(uint64_t wanted);

}  // namespace mqueuefs::daemon
