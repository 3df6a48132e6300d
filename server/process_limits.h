#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace finetune {

// CPUs that this process may use: the cgroup's quota (cpu.max) where there is one, which the
// number of the node's cores does not show. At least 1.
int CpuLimit();

// Raises the soft limit of open files to the hard one and returns it: gRPC 1.51 does not survive
// running out of them.
uint64_t RaiseFileLimit();

// No core dumps, and no reading of this process's memory by others of the same user: it holds the
// API key.
void ForbidCoreDumps();

// Whether the process may have what it needs: descriptors, address space, threads. Otherwise it
// would end in the middle of something, because gRPC and the standard library can do nothing else
// when a thread cannot be made. INVALID_ARGUMENT, saying which limit to raise.
absl::Status CheckProcessLimits();

}  // namespace finetune
