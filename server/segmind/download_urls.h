#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/secret.h"

namespace finetune {

// Signed URLs of weights, each kept for a minute, so that many fetches of one file, or of its
// parts, cost one call to Segmind. In memory only. Thread-safe; shared with all that wait for a
// URL.
class DownloadUrls : public std::enable_shared_from_this<DownloadUrls> {
 public:
  // Exactly once, with no lock held.
  using Done = absl::AnyInvocable<void(absl::StatusOr<Secret>) &&>;
  // Asks Segmind for one.
  using Ask = absl::AnyInvocable<void(Done) &&>;

  explicit DownloadUrls(Clock& clock) : clock_(clock) {}

  // The URL that is kept for `weights_uri`, or what `ask` brings, or what another caller that is
  // asking already will get. If that one fails, the next asks, because it may have been its fault.
  void Get(const std::string& weights_uri, Ask ask, Done done) ABSL_LOCKS_EXCLUDED(mu_);
  // It was refused: do not use it again.
  void Forget(const std::string& weights_uri) ABSL_LOCKS_EXCLUDED(mu_);

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct WaitingGet {
    Ask ask;
    Done done;
  };
  struct KeptUrl {
    absl::Time good_until = absl::InfinitePast();
    Secret url;
    bool asking = false;
    std::deque<WaitingGet> waiting;
  };

  void AskFor(const std::string& weights_uri, WaitingGet get);
  void OnAnswer(const std::string& weights_uri, Done done, absl::StatusOr<Secret> url)
      ABSL_LOCKS_EXCLUDED(mu_);
  void DropOld(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Clock& clock_;

  mutable Mutex mu_;
  absl::flat_hash_map<std::string, KeptUrl> urls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
