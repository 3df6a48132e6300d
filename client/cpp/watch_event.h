// The events of a subscription.
#pragma once

#include <segmind/finetune/v1/fine_tune_service.pb.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace finetune::inline client {

namespace pb = ::segmind::finetune::v1;

struct WatchEvent {
  enum class Kind {
    // A job as it is when the subscription begins.
    kSnapshot,
    kCreated,
    kUpdated,
    // The job no longer matches, or is gone after a reset. `fine_tune` is its last known form.
    kLeft,
    // The subscription knows all that the gateway knows.
    kSynced,
    // The gateway could not say what happened since the connection broke. The events up to the next
    // kSynced are the differences from what this subscription was told before, so a subscriber may
    // ignore this one.
    kReset,
    // Nothing happened; only with SubscriptionOptions::heartbeats.
    kHeartbeat,
    // The last event: the watch cannot go on; `status` says why.
    kEnded,
  };

  Kind kind = Kind::kHeartbeat;
  // Set for the kinds that are about a job. Shared by all subscriptions, and never changed.
  std::shared_ptr<const pb::FineTune> fine_tune;
  // The stream's revision when this was sent; 0 if it was made by the client.
  uint64_t revision = 0;
  // Once this event is handled, a new Watcher can continue from here
  // (WatcherOptions::resume_token). Empty where the stream cannot be resumed, such as inside a
  // snapshot.
  std::string resume_token;
  pb::Restart::Reason reset_reason = pb::Restart::REASON_UNSPECIFIED;
  absl::Status status;
};

// Called on the watcher's thread, one call at a time for all subscriptions of a stream: a callback
// that blocks holds up all of them.
using WatchCallback = absl::AnyInvocable<void(const WatchEvent&)>;

struct SubscriptionOptions {
  // `fineTunes/{id}` of the jobs to report; none means all. A job that does not exist yet is
  // reported once it does.
  absl::flat_hash_set<std::string> names;
  // If set, only jobs for which it is true are reported, and kLeft when it becomes false for one of
  // them. Called on the watcher's thread.
  std::function<bool(const pb::FineTune&)> filter;
  bool heartbeats = false;
};

}  // namespace finetune::inline client
