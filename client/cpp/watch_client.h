#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "client/cpp/connection.h"
#include "client/cpp/retry_backoff.h"
#include "client/cpp/sync.h"
#include "client/cpp/watch_event.h"
#include "client/cpp/watch_view.h"

namespace finetune::inline client {

// The stream's ups and downs, for logs and progress lines.
struct WatchConnection {
  // True: the stream is up. False: it broke (or could not be opened) and is tried again after
  // `retry_in`.
  bool connected = false;
  // Why it broke; OK if the server ended it in an orderly way.
  absl::Status status;
  absl::Duration retry_in;
};

struct WatcherOptions {
  // What to ask the server for, on behalf of all subscriptions: see WatchFineTunesRequest. Leave
  // `names` and `filter` empty to let subscriptions choose.
  std::vector<std::string> names;
  std::string filter;
  pb::FineTuneView view = pb::FINE_TUNE_VIEW_UNSPECIFIED;
  pb::WatchFineTunesRequest::Delivery delivery = pb::WatchFineTunesRequest::DELIVERY_UNSPECIFIED;
  pb::WatchFineTunesRequest::GapPolicy gap_policy =
      pb::WatchFineTunesRequest::GAP_POLICY_UNSPECIFIED;
  bool skip_snapshot = false;
  // From an event of an earlier watch with the same names and filter.
  std::string resume_token;

  // How often the server sends a sign of life (1 s to 60 s).
  absl::Duration heartbeat_interval = absl::Seconds(15);
  // A stream that has been silent for this long is abandoned and opened again. Zero means three
  // heartbeat intervals.
  absl::Duration silence_limit;
  BackoffOptions backoff;

  // Called on the watcher's thread.
  std::function<void(const WatchConnection&)> on_connection;
};

// One local interest in a Watcher's stream. Destroying it ends it: from then on the callback is
// neither called nor running, unless it is the callback that destroys it. The Watcher outlives it.
class Subscription {
 public:
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

 private:
  friend class Watcher;
  Subscription(class Watcher& watcher, std::shared_ptr<Subscriber> subscriber)
      : watcher_(watcher), subscriber_(std::move(subscriber)) {}

  class Watcher& watcher_;
  const std::shared_ptr<Subscriber> subscriber_;
};

// One WatchFineTunes stream that stays up: it resumes where it broke, backs off as the server asks,
// notices silence, and serves any number of local subscriptions. Every subscription hears of every
// job that concerns it: first a snapshot of what is known, then kSynced, then each change once,
// whatever happens to the connection.
//
// It ends (kEnded) only for a reason that trying again cannot cure: NOT_FOUND for a name, a refused
// filter, missing permission, a gap with GapPolicy FAIL. Owns one thread, which runs everything
// except the public methods; those are thread-safe. The destructor ends the stream and waits for
// the thread, so it must not run inside a callback.
class Watcher {
 public:
  Watcher(std::shared_ptr<Connection> connection, WatcherOptions options);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // The first subscription opens the stream, so that it gets all that a resume token brings. The
  // stream ends with the last one, and the next one opens it again. Never blocks; the callback is
  // first called on the watcher's thread. Subscriptions can be added and removed at any time, also
  // inside callbacks.
  std::unique_ptr<Subscription> Subscribe(SubscriptionOptions options, WatchCallback callback)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Ends the stream, and sends all subscriptions, also later ones, kEnded with CANCELLED.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

  // All events up to this token were handled by all callbacks. Empty if there is no token yet.
  std::string resume_token() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Subscription;

  enum class Phase { kWaiting, kStarting, kReading, kFinishing, kEnded };
  // What has completed; passed through the queue as its tag.
  enum Tag : intptr_t { kStarted = 1, kRead, kFinished, kWoken };

  // The watcher's thread.
  void Run();
  void Handle(Tag tag, bool ok);
  void OnTimer();
  void Open();
  void ReadOn();
  void Finish();
  void OnResponse();
  void OnStreamEnd();
  void TakeCommands() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the stream that is open, if one is.
  void EndStream();
  // There are no subscriptions any longer: forgets everything until there is one.
  void Rest();
  void CloseQueue() ABSL_LOCKS_EXCLUDED(mu_);
  void SetToken(std::string token) ABSL_LOCKS_EXCLUDED(mu_);
  // The status with which the watch ends for good, or OK if it is to be tried again.
  absl::Status FatalPart(const absl::Status& status) const;
  void WaitAtMost(absl::Duration duration);

  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Remove(const std::shared_ptr<Subscriber>& subscriber) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const std::shared_ptr<Connection> connection_;
  const WatcherOptions options_;
  const absl::Duration silence_limit_;

  // Watcher's thread only, except view_.Remove().
  WatchView view_;
  Phase phase_ = Phase::kWaiting;
  // When OnTimer() is due, on the monotonic clock.
  gpr_timespec timer_;
  RetryBackoff backoff_;
  std::string token_;
  bool opened_ = false;
  bool ever_connected_ = false;
  bool silent_ = false;
  bool stopped_ = false;
  bool closed_ = false;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncReaderInterface<pb::WatchFineTunesResponse>> stream_;
  pb::WatchFineTunesResponse response_;
  bool answered_ = false;
  grpc::Status finish_status_;

  grpc::CompletionQueue queue_;

  mutable ClientMutex mu_;
  std::vector<std::shared_ptr<Subscriber>> added_ ABSL_GUARDED_BY(mu_);
  bool some_removed_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  bool close_ ABSL_GUARDED_BY(mu_) = false;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
  bool queue_open_ ABSL_GUARDED_BY(mu_) = true;
  grpc::Alarm alarm_ ABSL_GUARDED_BY(mu_);
  std::string handled_token_ ABSL_GUARDED_BY(mu_);

  // Last, so that everything else exists while it runs.
  std::thread thread_;
};

}  // namespace finetune::inline client
