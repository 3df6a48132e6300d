#include "server/process_limits.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <future>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

// cgroup v2 writes "max 100000" or "150000 100000".
double QuotaV2() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::strtod(quota.c_str(), nullptr) / period;
}

double QuotaV1() {
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

// A gateway without callers uses a fifth of this.
constexpr rlim_t kLeastDescriptors = 128;
// Stacks are 8 MiB each, and glibc reserves 64 MiB for each thread's heap.
constexpr rlim_t kLeastAddressSpace = rlim_t{2} << 30;
// More threads than are ever started.
int ThreadsNeeded() { return 40 + 2 * CpuLimit(); }

absl::Status CheckLimit(int resource, absl::string_view what, absl::string_view ulimit,
                        rlim_t least) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 ||
      limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= least)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the limit of ", what, " is ", limit.rlim_cur,
                                                 ", and the gateway needs ", least,
                                                 ": raise it (`ulimit ", ulimit, "`)"));
}

// Makes all the threads at once, because one cannot ask for the limits of a user, a container or
// the kernel.
absl::Status TryThreads(int count) {
  std::promise<void> all_made;
  const std::shared_future<void> wait(all_made.get_future());
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  absl::Status outcome;
  try {
    while (threads.size() < static_cast<size_t>(count))
      threads.emplace_back([wait] { wait.wait(); });
  } catch (const std::system_error& error) {
    outcome = absl::InvalidArgumentError(absl::StrCat(
        "only ", threads.size(), " threads can be made, and the gateway needs ", count,
        ": raise the limit of processes (`ulimit -u`, or the container's pids limit)"));
  }
  all_made.set_value();
  for (std::thread& thread : threads) thread.join();
  return outcome;
}

}  // namespace

absl::Status CheckProcessLimits() {
  RETURN_IF_ERROR(CheckLimit(RLIMIT_NOFILE, "open files", "-n", kLeastDescriptors));
  RETURN_IF_ERROR(CheckLimit(RLIMIT_AS, "address space in bytes", "-v", kLeastAddressSpace));
  RETURN_IF_ERROR(CheckLimit(RLIMIT_DATA, "the data segment in bytes", "-d", kLeastAddressSpace));
  return TryThreads(ThreadsNeeded());
}

int CpuLimit() {
  int cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const double quota = QuotaV2() > 0 ? QuotaV2() : QuotaV1();
  if (quota > 0) cpus = std::min(cpus, static_cast<int>(std::ceil(quota)));
  return std::max(cpus, 1);
}

uint64_t RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

void ForbidCoreDumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace finetune
