#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/access_policy.h"
#include "server/access/remote_keys.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"

namespace finetune {

// The policy in force: what --policy_file holds, reread every second together with the key files
// that it names, and whenever keys that are fetched have changed. One that is bad is refused as a
// whole, logged once, and the one before stays. Thread-safe. The clock and the metrics outlive it.
class PolicyFile {
 public:
  // INVALID_ARGUMENT in one sentence if the file cannot be read or is no policy. Keys that are to
  // be fetched are not waited for. What `fetch` has begun ends before the PolicyFile goes.
  static absl::StatusOr<std::unique_ptr<PolicyFile>> Open(const std::string& path, FetchKeys fetch,
                                                          Clock& clock, Metrics& metrics);
  ~PolicyFile();

  // Never null.
  std::shared_ptr<const AccessPolicy> current() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether all keys that the policy names are there.
  bool HasAllKeys() const ABSL_LOCKS_EXCLUDED(mu_);

  // Runs on the thread "policy" after each change, until Stop. Once, before there is a change that
  // matters.
  void OnChangeDo(std::function<void()> action) ABSL_LOCKS_EXCLUDED(mu_);
  // Heeds no change any more. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Keys that are fetched, and what of them the policy last read had.
  struct Fetched {
    std::shared_ptr<RemoteKeys> keys;
    std::optional<std::string> text;
  };
  using Remotes = std::map<KeyLocation, Fetched>;

  PolicyFile(const std::string& path, FetchKeys fetch, Clock& clock, Metrics& metrics);

  void Schedule() ABSL_LOCKS_EXCLUDED(mu_);
  bool Changed() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::shared_ptr<const AccessPolicy>> Read() ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<RemoteKeys> StartFetching(const KeyLocation& location);
  void RereadIfChanged() ABSL_LOCKS_EXCLUDED(mu_);
  void Apply(std::shared_ptr<const AccessPolicy> policy) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string path_;
  const FetchKeys fetch_;
  Clock& clock_;
  prometheus::Counter& applied_;
  prometheus::Counter& refused_;
  prometheus::Gauge& refused_now_;
  const KeyFetchMetrics fetch_metrics_;

  // Worker's thread only: the files' texts when they were last read; nullopt for one
  // that could not be.
  std::map<std::string, std::optional<std::string>> texts_;

  mutable Mutex mu_;
  std::shared_ptr<const AccessPolicy> current_ ABSL_GUARDED_BY(mu_);
  Remotes remotes_ ABSL_GUARDED_BY(mu_);  // Of current_.
  std::function<void()> on_change_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  Worker worker_;
};

}  // namespace finetune
