#include "server/process_metrics.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/time/time.h"

namespace finetune {

ProcessMetrics::ProcessMetrics(Metrics& metrics)
    : memory_(metrics.Gauge("process_resident_memory_bytes", "Resident memory.")),
      open_files_(metrics.Gauge("process_open_fds", "Open files.")),
      cpu_seconds_(metrics.Counter("process_cpu_seconds_total", "CPU used, user and system.")),
      statm_(open("/proc/self/statm", O_RDONLY | O_CLOEXEC)),
      files_(opendir("/proc/self/fd")) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  metrics.Gauge("process_max_fds", "The limit of open files.")
      .Set(static_cast<double>(files.rlim_cur));
}

ProcessMetrics::~ProcessMetrics() {
  if (statm_ >= 0) close(statm_);
  MutexLock lock(mu_);
  if (files_ != nullptr) closedir(files_);
}

void ProcessMetrics::Update() {
  MutexLock lock(mu_);
  CountFiles();
  ReadMemory();
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const double seconds = absl::ToDoubleSeconds(absl::DurationFromTimeval(used.ru_utime) +
                                               absl::DurationFromTimeval(used.ru_stime));
  cpu_seconds_.Increment(seconds - cpu_seconds_.Value());
}

void ProcessMetrics::CountFiles() {
  if (files_ == nullptr) return;
  int count = 0;
  rewinddir(files_);
  while (const dirent* entry = readdir(files_)) count += entry->d_name[0] != '.' ? 1 : 0;
  open_files_.Set(count);
}

void ProcessMetrics::ReadMemory() {
  char text[128] = "";
  if (statm_ < 0 || pread(statm_, text, sizeof(text) - 1, 0) <= 0) return;
  char* resident = nullptr;
  std::strtoll(text, &resident, 10);
  memory_.Set(static_cast<double>(std::strtoll(resident, nullptr, 10) * sysconf(_SC_PAGESIZE)));
}

}  // namespace finetune
