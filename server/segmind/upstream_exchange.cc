#include "server/segmind/upstream_exchange.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/http/call_span.h"
#include "server/segmind/retry_time.h"

namespace finetune {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(250);
constexpr absl::Duration kLastRetry = absl::Seconds(10);
// How long calls are held after a 429 that does not say.
constexpr absl::Duration kFirstHold = absl::Seconds(2);
constexpr absl::Duration kLastHold = absl::Minutes(1);

constexpr char kRequests[] = "finetune_gateway_upstream_requests_total";
constexpr char kRequestsHelp[] = "Requests sent to Segmind, by call and HTTP code.";

std::string CodeLabel(int code) {
  if (code == 0) return "error";
  return code >= 100 && code < 600 ? absl::StrCat(code) : "other";
}

}  // namespace

struct UpstreamExchange::Flight {
  uint64_t id = 0;
  ExchangeCall call;
  Done done;
  Backoff backoff{kFirstRetry, kLastRetry};
  bool key_reread = false;
  Secret key;  // Of the latest try.
  std::shared_ptr<const Scrubber> scrubber;
  bool sent = false;           // The latest try was handed to the transport.
  ExchangeResult last_result;  // Why it is tried again.
  absl::Time start_time;
  int tries = 0;
  Span span;  // Of the latest try.
};

// Keeps Shutdown waiting while a callback runs; null once Shutdown has begun.
class UpstreamExchange::Entry {
 public:
  explicit Entry(const std::weak_ptr<UpstreamExchange>& exchange) : exchange_(exchange.lock()) {
    if (exchange_ == nullptr) return;
    bool stopping;
    {
      MutexLock lock(exchange_->mu_);
      stopping = exchange_->stopping_;
      if (!stopping) ++exchange_->entries_;
    }
    if (stopping) exchange_ = nullptr;
  }
  ~Entry() {
    if (exchange_ == nullptr) return;
    MutexLock lock(exchange_->mu_);
    if (--exchange_->entries_ == 0) exchange_->left_.NotifyAll();
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  explicit operator bool() const { return exchange_ != nullptr; }
  UpstreamExchange* operator->() const { return exchange_.get(); }

 private:
  std::shared_ptr<UpstreamExchange> exchange_;
};

UpstreamExchange::UpstreamExchange(int calls_per_minute, CallBudget* budget, HttpClient& http,
                                   ApiKeySource& key, Clock& clock, Metrics& metrics,
                                   AccountCredits& credits)
    : http_(http),
      key_(key),
      clock_(clock),
      metrics_(metrics),
      credits_(credits),
      refusals_("upstream_calls", metrics),
      limiter_(RateLimiter::Make(calls_per_minute, clock, &refusals_, budget)),
      oversized_(metrics.Counter("finetune_gateway_upstream_oversized_answers_total",
                                 "Answers of Segmind that were too long to be read.")),
      limited_backoff_(kFirstHold, kLastHold) {
  for (UpstreamCall call : kUpstreamCalls) {
    const std::string name(NameOf(call));
    seconds_[call] =
        &metrics.Histogram("finetune_gateway_upstream_seconds", "How long Segmind took to answer.",
                           kLatencyBuckets, {{"call", name}});
    // Codes for which alerts and panels ask are made in advance: Prometheus sees no increase in a
    // series that first appears.
    for (const int code : {0, 200, 401, 403, 406, 429, 500, 502, 503, 504})
      requests_[{call, code}] =
          &metrics.Counter(kRequests, kRequestsHelp, {{"call", name}, {"code", CodeLabel(code)}});
  }
}

void UpstreamExchange::Start(ExchangeCall call, Done done) {
  auto flight = std::make_shared<Flight>();
  flight->call = std::move(call);
  flight->done = std::move(done);
  bool stopping;
  {
    MutexLock lock(mu_);
    stopping = stopping_;
    flight->id = ++last_flight_;
    if (!stopping) flights_.emplace(flight->id, flight);
  }
  if (!stopping) {
    if (flight->call.cancellation != nullptr) {
      flight->call.cancellation->OnCancelDo(
          [weak = weak_from_this(), weak_flight = std::weak_ptr<Flight>(flight)] {
            const FlightPtr flight = weak_flight.lock();
            if (Entry self(weak); self && flight != nullptr) self->Cancel(flight);
          });
    }
    return Queue(flight);
  }
  std::move(flight->done)(
      {.status = StatusOfTransport(flight->call.subject, absl::CancelledError("stopping"), false),
       .start_time = clock_.Now()});
}

void UpstreamExchange::Shutdown() {
  absl::flat_hash_map<uint64_t, FlightPtr> flights;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    while (entries_ > 0) left_.Wait(mu_);
    flights.swap(flights_);
  }
  limiter_->Shutdown();
  for (auto& [id, flight] : flights) {
    std::move(flight->done)(
        {.status = StatusOfTransport(flight->call.subject, absl::CancelledError("stopping"), false),
         .sent = flight->sent,
         .start_time = flight->start_time});
  }
}

pb::GatewayStatus::UpstreamState UpstreamExchange::state() const {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  return health_.state(now);
}

void UpstreamExchange::ForgetHealth(UpstreamCall call) {
  MutexLock lock(mu_);
  health_.Forget(call);
}

void UpstreamExchange::Cancel(const FlightPtr& flight) {
  Finish(flight, {.status = Error(absl::StatusCode::kCancelled,
                                  pb::ErrorReason::UPSTREAM_UNAVAILABLE, "the caller is gone")
                                .Metadata("call", NameOf(flight->call.subject.call)),
                  .start_time = clock_.Now()});
}

void UpstreamExchange::Queue(const FlightPtr& flight) {
  flight->sent = false;
  const ExchangeCall& call = flight->call;
  if (call.cancellation != nullptr && call.cancellation->cancelled()) return Cancel(flight);
  if (const std::optional<Pause> pause = FindPause(call.subject.call)) {
    const absl::Time now = clock_.Now();
    if (pause->until >= call.deadline) {
      return Finish(flight, {.status = Error(absl::StatusCode::kUnavailable,
                                             pb::ErrorReason::UPSTREAM_UNAVAILABLE, pause->why)
                                           .Metadata("call", NameOf(call.subject.call))
                                           .RetryAfter(pause->until - now),
                             .start_time = now});
    }
    clock_.RunAt(pause->until, [weak = weak_from_this(), flight] {
      if (Entry self(weak); self) self->Queue(flight);
    });
    return;
  }
  limiter_->Acquire(call.priority, call.sharer, call.deadline, call.cancellation,
                    [weak = weak_from_this(), flight](absl::Status turn) {
                      if (Entry self(weak); self) self->Send(flight, std::move(turn));
                    });
}

void UpstreamExchange::Send(const FlightPtr& flight, absl::Status turn) {
  const ExchangeCall& call = flight->call;
  if (!turn.ok()) {
    // Segmind's last answer tells more than that there is no time to ask again.
    ExchangeResult result = std::move(flight->last_result);
    if (result.status.ok()) result.status = std::move(turn);
    result.sent = false;
    result.start_time = clock_.Now();
    return Finish(flight, std::move(result));
  }
  absl::StatusOr<Secret> key = key_.Get();
  const absl::Time now = clock_.Now();
  if (!key.ok()) {
    Log(LogLevel::kError, "there is no Segmind API key",
        {{"trace_id", call.trace.TraceId()},
         {"span_id", call.trace.SpanId()},
         {"cause", key.status().ToString()}});
    NoteHealth(call.subject.call, UpstreamHealth::Answer::kKeyRefused);
    return Finish(flight, {.status = Error(absl::StatusCode::kInternal,
                                           pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
                                           "the gateway has no usable API key for Segmind")
                                         .Metadata("call", NameOf(call.subject.call)),
                           .no_key = true,
                           .start_time = now});
  }
  flight->key = *key;
  flight->scrubber = ScrubberOf(*key);
  flight->sent = true;
  flight->start_time = now;
  flight->span = StartCallSpan(call.request, call.trace, now, flight->tries++);
  HttpRequest request = call.request;
  request.secret_headers = {{"x-api-key", *std::move(key)}};
  if (const TraceContext& trace = flight->span.context(); trace.valid()) {
    request.headers.emplace_back("traceparent", trace.Traceparent());
    if (trace.state != nullptr) request.headers.emplace_back("tracestate", *trace.state);
  }
  request.cancellation = call.cancellation;
  request.deadline = now + call.try_timeout;
  if (!call.once) request.deadline = std::min(request.deadline, call.deadline);
  http_.Start(std::move(request), [weak = weak_from_this(), flight](HttpResult result) {
    if (Entry self(weak); self) self->OnResult(flight, std::move(result));
  });
}

void UpstreamExchange::OnResult(const FlightPtr& flight, HttpResult result) {
  const ExchangeCall& call = flight->call;
  const int code = result.status.ok() ? result.response.code : 0;
  const absl::Time now = clock_.Now();
  if (!absl::IsCancelled(result.status)) Count(call.subject.call, code, now - flight->start_time);
  EndCallSpan(flight->span, result);
  if (result.status.ok()) return OnAnswer(flight, std::move(result.response));

  if (!absl::IsCancelled(result.status) && !absl::IsAborted(result.status)) {
    NoteHealth(call.subject.call, UpstreamHealth::Answer::kFailed);
    LogTurn(call.subject.call, result.status);
  }
  if (absl::IsResourceExhausted(result.status)) oversized_.Increment();
  const bool caller_gave_up = !call.once && now + absl::Milliseconds(5) >= call.deadline;
  ExchangeResult failed{.status = StatusOfTransport(call.subject, result.status, caller_gave_up),
                        .sent = result.sent,
                        .start_time = flight->start_time};
  RetryLater(flight, std::move(failed), absl::ZeroDuration());
}

void UpstreamExchange::OnAnswer(const FlightPtr& flight, HttpResponse response) {
  const ExchangeCall& call = flight->call;
  const int code = response.code;
  credits_.NoteHeader(response.Header("x-remaining-credits"), flight->start_time);
  ExchangeResult result{.sent = true,
                        .scrubber = flight->scrubber,
                        .start_time = flight->start_time - AgeOf(response)};
  if (code >= 200 && code < 300) {
    NoteAnswer(call.subject.call, code, absl::OkStatus());
    result.response = std::move(response);
    return Finish(flight, std::move(result));
  }
  const absl::Time now = clock_.Now();
  AnswerVerdict verdict = JudgeAnswer(call.subject, response, clock_.WallNow(), *flight->scrubber);
  NoteAnswer(call.subject.call, code, verdict.status);
  if (code == 429) {
    HoldForLimit(verdict.retry_after, now);
  } else if (verdict.retry_after && absl::IsUnavailable(verdict.status)) {
    AddPause(call.subject.call,
             {now + *verdict.retry_after, std::string(verdict.status.message())});
  }
  result.status = std::move(verdict.status);
  result.refused = verdict.refused;
  result.response = std::move(response);
  bool again = code == 429 && !call.once;
  // With Segmind's own 401 nothing was done, so even a submit may be sent again.
  if (code == 401 && !flight->key_reread && (!call.once || verdict.refused)) {
    flight->key_reread = true;
    again = key_.Reread(flight->key);
  }
  if (again) {
    flight->last_result = std::move(result);
    return Queue(flight);
  }
  RetryLater(flight, std::move(result), verdict.retry_after.value_or(absl::ZeroDuration()));
}

void UpstreamExchange::RetryLater(const FlightPtr& flight, ExchangeResult result,
                                  absl::Duration at_least) {
  const absl::Time when = clock_.Now() + std::max(flight->backoff.Next(), at_least);
  if (flight->call.once || !absl::IsUnavailable(result.status) || when >= flight->call.deadline)
    return Finish(flight, std::move(result));
  flight->last_result = std::move(result);
  clock_.RunAt(when, [weak = weak_from_this(), flight] {
    if (Entry self(weak); self) self->Queue(flight);
  });
}

void UpstreamExchange::Finish(const FlightPtr& flight, ExchangeResult result) {
  {
    MutexLock lock(mu_);
    if (flights_.erase(flight->id) == 0) return;
  }
  std::move(flight->done)(std::move(result));
}

void UpstreamExchange::HoldForLimit(std::optional<absl::Duration> told, absl::Time now) {
  absl::Duration wait;
  {
    MutexLock lock(mu_);
    const absl::Duration guess = limited_backoff_.Next();
    // If its clock is a little ahead of ours, the time would be too short.
    wait = std::max(told.value_or(guess), absl::Seconds(1));
  }
  limiter_->HoldUntil(now + wait);
}

void UpstreamExchange::AddPause(UpstreamCall call, Pause pause) {
  MutexLock lock(mu_);
  Pause& known = pauses_[call];
  if (known.until < pause.until) known = std::move(pause);
}

std::optional<UpstreamExchange::Pause> UpstreamExchange::FindPause(UpstreamCall call) {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  const auto found = pauses_.find(call);
  if (found == pauses_.end()) return std::nullopt;
  if (found->second.until > now) return found->second;
  pauses_.erase(found);
  return std::nullopt;
}

std::shared_ptr<const Scrubber> UpstreamExchange::ScrubberOf(const Secret& key) {
  MutexLock lock(mu_);
  if (scrubber_ == nullptr || !(key == scrubbed_key_)) {
    scrubbed_key_ = key;
    scrubber_ = std::make_shared<const Scrubber>(key);
  }
  return scrubber_;
}

void UpstreamExchange::NoteAnswer(UpstreamCall call, int code, const absl::Status& status) {
  using Answer = UpstreamHealth::Answer;
  const auto reason = ReasonOf(status);
  const bool key_refused = reason == pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED;
  // Nothing in a list's request can be wrong, so a failure is Segmind's or the network's.
  const bool failed = !status.ok() && (absl::IsUnavailable(status) || code == 429 || code < 400 ||
                                       call == UpstreamCall::kList);
  LogTurn(call, failed || key_refused ? status : absl::OkStatus());
  NoteHealth(call, status.ok()   ? Answer::kGood
                   : key_refused ? Answer::kKeyRefused
                   : failed      ? Answer::kFailed
                                 : Answer::kGood);
  MutexLock lock(mu_);
  if (code != 429) limited_backoff_.Reset();
  if (call == UpstreamCall::kSubmit && !failed && !key_refused)
    health_.NoteRetired(reason == pb::ErrorReason::UPSTREAM_RETIRED);
}

void UpstreamExchange::LogTurn(UpstreamCall call, const absl::Status& status) {
  {
    MutexLock lock(mu_);
    if (std::exchange(failing_[call], !status.ok()) == !status.ok()) return;
  }
  if (status.ok()) {
    Log(LogLevel::kInfo, "Segmind answers again", {{"call", NameOf(call)}});
  } else {
    Log(LogLevel::kWarning, "Segmind cannot be reached, or gives no usable answer",
        {{"call", NameOf(call)}, {"error", std::string(status.message())}});
  }
}

void UpstreamExchange::NoteHealth(UpstreamCall call, UpstreamHealth::Answer answer) {
  // Jobs do not need the credits, which come from another API of Segmind's.
  if (call == UpstreamCall::kCredits) return;
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  health_.Note(call, answer, now);
}

void UpstreamExchange::Count(UpstreamCall call, int code, absl::Duration took) {
  seconds_.at(call)->Observe(absl::ToDoubleSeconds(took));
  if (const auto known = requests_.find({call, code}); known != requests_.end())
    return known->second->Increment();
  metrics_
      .Counter(kRequests, kRequestsHelp,
               {{"call", std::string(NameOf(call))}, {"code", CodeLabel(code)}})
      .Increment();
}

}  // namespace finetune
