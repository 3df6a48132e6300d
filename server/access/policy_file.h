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
#include "server/base/reread_files.h"
#include "server/base/worker.h"

namespace finetune {

// The policy in force, from --policy_file and the key files that it names. Reread when one of these
// files or a fetched key set changes; a bad policy is refused as a whole, and the one before it
// stays in force. Thread-safe. What Open is given outlives it.
class PolicyFile {
 public:
  // INVALID_ARGUMENT in one sentence if the file cannot be read or is not a policy. Does not wait
  // for keys that have to be fetched. Fetches end before the PolicyFile goes away.
  static absl::StatusOr<std::unique_ptr<PolicyFile>> Open(const std::string& path,
                                                          MakeFetchKeys make_fetch,
                                                          FileRereader& rereader, Clock& clock,
                                                          Metrics& metrics);
  ~PolicyFile();

  // Never null.
  std::shared_ptr<const AccessPolicy> current() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether all keys that the policy names have been read or fetched.
  bool HasAllKeys() const ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `action` after each change, one run at a time, on any thread, until Stop. Call it once,
  // before any change that matters.
  void OnChangeDo(std::function<void()> action) ABSL_LOCKS_EXCLUDED(mu_);
  // Stops following the files and fetching keys. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Keys that are fetched, and the text of them that the policy in force uses.
  struct Fetched {
    std::shared_ptr<RemoteKeys> keys;
    std::optional<std::string> text;
  };
  using Remotes = std::map<KeyLocation, Fetched>;

  PolicyFile(const std::string& path, MakeFetchKeys make_fetch, FileRereader& rereader,
             Clock& clock, Metrics& metrics);

  absl::Status Take(RereadFiles::Read read) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<RemoteKeys> StartFetching(const KeyLocation& location);
  void Apply(std::shared_ptr<const AccessPolicy> policy, Remotes remotes) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::string path_;
  const MakeFetchKeys make_fetch_;
  Clock& clock_;
  const KeyFetchMetrics fetch_metrics_;

  mutable Mutex mu_;
  std::shared_ptr<const AccessPolicy> current_ ABSL_GUARDED_BY(mu_);
  Remotes remotes_ ABSL_GUARDED_BY(mu_);  // Of current_.
  std::function<void()> on_change_ ABSL_GUARDED_BY(mu_);

  const std::shared_ptr<RereadFiles> files_;
  Worker worker_;  // For the keys that are fetched.
};

}  // namespace finetune
