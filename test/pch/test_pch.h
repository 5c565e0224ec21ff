// Precompiled: what each test reads.
#ifndef MQUEUEFS_TEST_PCH_H
#define MQUEUEFS_TEST_PCH_H

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#endif
