// Which tests of the contract a target does not cover: they are not registered for it, so that a test that is skipped
// always means that the machine lacks something.
//
// A deliberate difference that a test can state is MQ_DIFFERENCE in it. Here are the tests of which nothing is left.
#pragma once

#include <string>

namespace mqueuefs::test {

/// `filter`, a filter of gtest, without the tests that `target` does not cover.
std::string covered_part(const std::string& filter, const std::string& target);

}  // namespace mqueuefs::test
