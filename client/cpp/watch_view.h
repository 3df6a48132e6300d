#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "client/cpp/sync.h"
#include "client/cpp/watch_event.h"

namespace finetune::inline client {

// One subscription as the view keeps it.
struct Subscriber {
  Subscriber(SubscriptionOptions options, WatchCallback callback)
      : options(std::move(options)), callback(std::move(callback)) {}

  const SubscriptionOptions options;

  // Watcher's thread only.
  WatchCallback callback;
  // With a filter: the jobs that the subscriber has been told of and that still match.
  absl::flat_hash_set<std::string> matched;
  bool synced = false;

  // Guarded by the view's mutex.
  bool removed = false;
};

// What one stream knows, and who listens: turns the stream's responses into events for each
// subscriber. A snapshot that the server sends again (after a reset, or because a stream broke
// before it could be resumed) is collected first and passed on as differences. Used on the
// watcher's thread, except Remove(). Owned by a Watcher.
class WatchView {
 public:
  using Job = std::shared_ptr<const pb::FineTune>;

  // `complete`: whether the first snapshot holds all jobs that match; false for a stream that
  // starts without one.
  explicit WatchView(bool complete) : complete_(complete) {}

  // A new stream begins that does not continue the last one: a snapshot will come, unless the view
  // is not complete yet.
  void StartAfresh();

  // Passes a response on. After a reset the view collects what follows.
  void Apply(pb::WatchFineTunesResponse& response);

  // Tells a new subscriber what is known, and from now on what changes.
  void Add(std::shared_ptr<Subscriber> subscriber);

  // Once it returns, the subscriber is no longer called and no call of it is under way (except the
  // one that calls this). Any thread.
  void Remove(const std::shared_ptr<Subscriber>& subscriber) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether there are subscribers, as of the last Add() and Prune().
  bool watched() const { return !to_all_.empty() || !to_name_.empty(); }

  // Forgets everything, as at the beginning. Only without subscribers.
  void Forget();

  // Forgets removed subscribers.
  void Prune() ABSL_LOCKS_EXCLUDED(mu_);

  // Sends all subscribers, also those added later, kEnded.
  void End(absl::Status status);

  // Whether a snapshot was completed, so that only changes matter.
  bool ever_synced() const { return ever_synced_; }

 private:
  using Subscribers = std::vector<std::shared_ptr<Subscriber>>;

  void ApplyChange(WatchEvent event, pb::Change::Type type);
  void ApplyReset(WatchEvent event);
  void ApplySynced(WatchEvent event);
  // Passes on how the collected snapshot differs from what is known, and makes it what is known.
  void PassOnDifferences();

  void TellJob(const WatchEvent& event);
  void TellJob(Subscriber& subscriber, const WatchEvent& event);
  void TellAll(const WatchEvent& event);
  void Call(Subscriber& subscriber, const WatchEvent& event);
  // The subscriber's code runs only between these two; Remove() waits for Leave(). False once the
  // subscriber is removed.
  bool Enter(Subscriber& subscriber) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave(Subscriber& subscriber) ABSL_LOCKS_EXCLUDED(mu_);

  // Watcher's thread only.
  const bool complete_;
  absl::flat_hash_map<std::string, Job> known_;
  // Set while a snapshot is collected.
  std::optional<absl::flat_hash_map<std::string, Job>> collected_;
  // Whether revisions in the collected snapshot can be compared with those that are known.
  bool same_history_ = true;
  bool synced_ = false;
  bool ever_synced_ = false;
  std::optional<absl::Status> ended_;
  Subscribers to_all_;
  absl::flat_hash_map<std::string, Subscribers> to_name_;

  ClientMutex mu_;
  ClientCondition call_done_;
  const Subscriber* called_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::thread::id caller_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::inline client
