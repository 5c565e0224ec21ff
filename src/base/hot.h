// For what every message in shared memory passes through: it is inlined into one function, and what is rare is kept out
// of that, so that it needs few registers. Both are in one translation unit (meson.build of the room says so).
#pragma once

#define MQUEUEFS_HOT __attribute__((always_inline)) inline
#define MQUEUEFS_COLD __attribute__((noinline))
