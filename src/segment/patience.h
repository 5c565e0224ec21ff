// How often something is tried that fails only because somebody else succeeded. Who is still not through then works on
// memory that a hostile process changes all the time.
#pragma once

#include <cstdint>

namespace mqueuefs {

inline constexpr uint32_t kPatience = 1U << 18;

}  // namespace mqueuefs
