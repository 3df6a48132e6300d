#pragma once

#include <dirent.h>

#include "server/base/metrics.h"
#include "server/base/mutex.h"

namespace finetune {

// What the kernel says about this process, under the names that all exporters use. Correct even
// when the process runs out of descriptors, because its files are open from the start. Thread-safe.
class ProcessMetrics {
 public:
  explicit ProcessMetrics(Metrics& metrics);
  ~ProcessMetrics();

  // Reads all of them again; a value that cannot be read stays as it was.
  void Update() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void CountFiles() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReadMemory() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  prometheus::Gauge& memory_;
  prometheus::Gauge& open_files_;
  prometheus::Counter& cpu_seconds_;
  const int statm_;  // Negative if it could not be opened.

  Mutex mu_;
  DIR* const files_ ABSL_PT_GUARDED_BY(mu_);  // Null if it could not be opened.
};

}  // namespace finetune
