#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/backoff.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"

namespace finetune {

// Where an issuer's key set is fetched from.
struct KeyLocation {
  std::string url;
  std::string ca_file;     // Authorities to trust instead of the system's, unless empty.
  std::string token_file;  // Holds a bearer token to send, unless empty.

  auto operator<=>(const KeyLocation&) const = default;
};

// Fetches the text of one location's key set; provided by the code that knows HTTP. `done` runs
// exactly once, on any thread, perhaps before this returns. May read files, and does not block
// otherwise.
using KeysFetched = absl::AnyInvocable<void(absl::StatusOr<std::string>) &&>;
using FetchKeys = std::function<void(KeysFetched done)>;
using MakeFetchKeys = std::function<FetchKeys(const KeyLocation& location)>;

// The counters of all fetches, for all locations together.
struct KeyFetchMetrics {
  prometheus::Counter& fetched;
  prometheus::Counter& failed;
  prometheus::Gauge& failing;  // Locations whose latest fetch failed.
};

// The key set at one location, fetched again every ten minutes, and sooner after a failure or when
// a token names a key that it lacks. The last good one stays until a newer one is fetched.
// Thread-safe.
class RemoteKeys : public std::enable_shared_from_this<RemoteKeys> {
 public:
  // Runs tasks, one after another, on a thread that may block; after Stop it may drop them.
  using Post = std::function<void(std::function<void()>)>;

  // Begins to fetch. Posts `on_change` when text() has changed. What Start is given outlives Stop
  // and the fetch under way.
  static std::shared_ptr<RemoteKeys> Start(const KeyLocation& location, FetchKeys fetch,
                                           Clock& clock, KeyFetchMetrics metrics, Post post,
                                           std::function<void()> on_change);

  // The key set, checked; nullopt until the first one was fetched.
  std::optional<std::string> text() const ABSL_LOCKS_EXCLUDED(mu_);

  // Call it when a token names a key that is not in the set. True if the set is being fetched, so
  // that it is worth asking again soon. Never blocks; fetches at most once in ten seconds.
  bool LookAgain() ABSL_LOCKS_EXCLUDED(mu_);

  // Stops fetching, and ignores an answer that still arrives. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  RemoteKeys(const KeyLocation& location, FetchKeys fetch, Clock& clock, KeyFetchMetrics metrics,
             Post post, std::function<void()> on_change);

  void Begin() ABSL_LOCKS_EXCLUDED(mu_);
  void OnFetched(absl::StatusOr<std::string> text) ABSL_LOCKS_EXCLUDED(mu_);
  void NoteOutcomeLocked(bool good) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const KeyLocation location_;
  const FetchKeys fetch_;
  Clock& clock_;
  const KeyFetchMetrics metrics_;
  const Post post_;
  const std::function<void()> on_change_;

  mutable Mutex mu_;
  std::optional<std::string> text_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool fetching_ ABSL_GUARDED_BY(mu_) = false;
  bool failing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time begun_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  Backoff backoff_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
};

}  // namespace finetune
