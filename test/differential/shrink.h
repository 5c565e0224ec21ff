// Cutting a program down to what a difference needs.
#pragma once

#include <functional>

#include "differential/operation.h"

namespace mqueuefs::differential {

/// Delta debugging: the least program found of which `still_differs` holds; it holds of `program`. Calls it
/// some hundred times.
Program shrink(Program program, const std::function<bool(const Program&)>& still_differs);

}  // namespace mqueuefs::differential
