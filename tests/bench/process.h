#pragma once

#include <cstdint>

namespace finetune::bench {

// Seconds of CPU that a process has used, user and system; 0 for pid 0.
double CpuSeconds(int pid);
// Its memory now, in bytes, not counting pages shared with files.
int64_t ResidentBytes(int pid);

int64_t NowNanoseconds();

}  // namespace finetune::bench
