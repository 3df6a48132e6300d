#pragma once

#include <map>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "server/base/backoff.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/trace.h"
#include "server/http/http_client.h"
#include "server/segmind/account_credits.h"
#include "server/segmind/error_table.h"
#include "server/segmind/rate_limiter.h"
#include "server/segmind/segmind_client.h"
#include "server/segmind/upstream_health.h"

namespace finetune {

// One call to make, with all the tries that it takes.
struct ExchangeCall {
  CallSubject subject;
  HttpRequest request;  // Without key and deadline.
  absl::Time deadline;
  TraceContext trace;
  absl::Duration try_timeout;
  RateLimiter::Priority priority = RateLimiter::Priority::kInteractive;
  std::shared_ptr<Sharer> sharer;  // On whose behalf; null for the gateway's own.
  // Ends it with CANCELLED at any stage; may be null.
  std::shared_ptr<const Cancellation> cancellation;
  // Never sent again once it may have been sent, except after a 401. `try_timeout` then applies
  // even beyond the deadline.
  bool once = false;
};

// How an exchange ended.
struct ExchangeResult {
  absl::Status status;    // OK: a 2xx answer. Otherwise a typed error.
  HttpResponse response;  // Of the last try; code 0 if that had none.
  bool sent = false;      // Whether the last try may have reached Segmind.
  bool no_key = false;    // It was not even tried, because there is no key.
  bool refused = false;   // AnswerVerdict's: Segmind's definite no.
  // For what is made of the answer: of the key of the last try.
  std::shared_ptr<const Scrubber> scrubber;
  // When the last try began; earlier by the age of the copy if a cache answered.
  absl::Time start_time;
};

// Makes calls to Segmind: waits for the rate limit, adds the key, sends, rereads the key after a
// 401, retries what may be retried, and counts. Thread-safe; owned by SegmindClient and held weakly
// by what is under way; `http`, `key`, `clock` and `metrics` live until Shutdown returns.
class UpstreamExchange : public std::enable_shared_from_this<UpstreamExchange> {
 public:
  // Exactly once, with no lock held.
  using Done = absl::AnyInvocable<void(ExchangeResult) &&>;

  // `budget`: null where no other process makes calls; else it outlives this.
  // `credits`: hears what answers say of them; outlives this, too.
  UpstreamExchange(int calls_per_minute, CallBudget* budget, HttpClient& http, ApiKeySource& key,
                   Clock& clock, Metrics& metrics, AccountCredits& credits);

  void Start(ExchangeCall call, Done done) ABSL_LOCKS_EXCLUDED(mu_);

  // Calls that wait for the rate limit end with CANCELLED, and so do those that would have to.
  void EndQueue() { limiter_->Shutdown(); }

  // Ends all calls with CANCELLED; their callbacks have run when it returns. Not from a callback.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

  pb::GatewayStatus::UpstreamState state() const ABSL_LOCKS_EXCLUDED(mu_);
  // Such calls are no longer made here: they no longer count for the state.
  void ForgetHealth(UpstreamCall call) ABSL_LOCKS_EXCLUDED(mu_);
  int calls_left() const { return limiter_->calls_left(); }

 private:
  struct Flight;
  using FlightPtr = std::shared_ptr<Flight>;
  class Entry;
  // A 503 that says for how long holds back calls of its kind alone.
  struct Pause {
    absl::Time until;
    std::string why;
  };

  void Cancel(const FlightPtr& flight);
  void Queue(const FlightPtr& flight);
  void Send(const FlightPtr& flight, absl::Status turn);
  void OnResult(const FlightPtr& flight, HttpResult result);
  void OnAnswer(const FlightPtr& flight, HttpResponse response);
  void RetryLater(const FlightPtr& flight, ExchangeResult result, absl::Duration at_least);
  void Finish(const FlightPtr& flight, ExchangeResult result) ABSL_LOCKS_EXCLUDED(mu_);
  void HoldForLimit(std::optional<absl::Duration> told, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);
  void AddPause(UpstreamCall call, Pause pause) ABSL_LOCKS_EXCLUDED(mu_);
  std::optional<Pause> FindPause(UpstreamCall call) ABSL_LOCKS_EXCLUDED(mu_);
  // `status`: what the answer comes to.
  void NoteAnswer(UpstreamCall call, int code, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void NoteHealth(UpstreamCall call, UpstreamHealth::Answer answer) ABSL_LOCKS_EXCLUDED(mu_);
  // Logs when calls of a kind begin to fail, and when they succeed again.
  void LogTurn(UpstreamCall call, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<const Scrubber> ScrubberOf(const Secret& key) ABSL_LOCKS_EXCLUDED(mu_);
  void Count(UpstreamCall call, int code, absl::Duration took);

  // Constant after construction.
  HttpClient& http_;
  ApiKeySource& key_;
  Clock& clock_;
  Metrics& metrics_;
  AccountCredits& credits_;
  ShareRefusals refusals_;
  const std::shared_ptr<RateLimiter> limiter_;
  prometheus::Counter& oversized_;
  std::map<UpstreamCall, prometheus::Histogram*> seconds_;
  // By call and HTTP code, 0 for none: the usual ones.
  std::map<std::pair<UpstreamCall, int>, prometheus::Counter*> requests_;

  mutable Mutex mu_;
  CondVar left_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  int entries_ ABSL_GUARDED_BY(mu_) = 0;  // Threads within, from callbacks of http, clock, limiter.
  uint64_t last_flight_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, FlightPtr> flights_ ABSL_GUARDED_BY(mu_);
  Backoff limited_backoff_ ABSL_GUARDED_BY(mu_);
  UpstreamHealth health_ ABSL_GUARDED_BY(mu_);
  std::map<UpstreamCall, Pause> pauses_ ABSL_GUARDED_BY(mu_);
  std::map<UpstreamCall, bool> failing_ ABSL_GUARDED_BY(mu_);
  // Of the latest key.
  Secret scrubbed_key_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<const Scrubber> scrubber_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
