#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/access_policy.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"

namespace finetune {

// The policy in force: what --policy_file holds, reread every second together with the key files
// that it names. One that is bad is refused as a whole, logged once, and the one before stays.
// Thread-safe. The clock and the metrics outlive it.
class PolicyFile {
 public:
  // INVALID_ARGUMENT in one sentence if the file cannot be read or is no policy.
  static absl::StatusOr<std::unique_ptr<PolicyFile>> Open(const std::string& path, Clock& clock,
                                                          Metrics& metrics);
  ~PolicyFile();

  // Never null.
  std::shared_ptr<const AccessPolicy> current() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  PolicyFile(const std::string& path, Clock& clock, Metrics& metrics);

  void Schedule() ABSL_LOCKS_EXCLUDED(mu_);
  bool Changed() const;
  absl::StatusOr<std::shared_ptr<const AccessPolicy>> Read();
  void Reread();

  // Constant after construction.
  const std::string path_;
  Clock& clock_;
  prometheus::Counter& applied_;
  prometheus::Counter& refused_;
  prometheus::Gauge& refused_now_;

  // Worker's thread only, after Open: the files' texts when they were last read; nullopt for one
  // that could not be.
  std::map<std::string, std::optional<std::string>> texts_;

  mutable Mutex mu_;
  std::shared_ptr<const AccessPolicy> current_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  Worker worker_;
};

}  // namespace finetune
