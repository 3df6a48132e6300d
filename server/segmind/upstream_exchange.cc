#include "server/segmind/upstream_exchange.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/log.h"
#include "server/http/call_span.h"

namespace finetune {
namespace {

constexpr absl::Duration kFirstRetry = absl::Milliseconds(250);
constexpr absl::Duration kLastRetry = absl::Seconds(10);
// After a 429 that does not say for how long.
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
  Secret key;                  // Of the latest try.
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

UpstreamExchange::UpstreamExchange(int calls_per_minute, HttpClient& http, ApiKeySource& key,
                                   Clock& clock, Metrics& metrics)
    : http_(http),
      key_(key),
      clock_(clock),
      metrics_(metrics),
      limiter_(RateLimiter::Make(calls_per_minute, clock)),
      limited_backoff_(kFirstHold, kLastHold) {
  for (UpstreamCall call : kUpstreamCalls) {
    const std::string name(NameOf(call));
    seconds_[call] =
        &metrics.Histogram("finetune_gateway_upstream_seconds", "How long Segmind took to answer.",
                           kLatencyBuckets, {{"call", name}});
    // Those that an alert or a panel asks for; Prometheus sees no increase in a first appearance.
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
  if (!stopping) return Queue(flight);
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
  MutexLock lock(mu_);
  if (latest_ == pb::GatewayStatus::HEALTHY && retired_) return pb::GatewayStatus::RETIRED;
  return latest_;
}

void UpstreamExchange::Queue(const FlightPtr& flight) {
  flight->sent = false;
  limiter_->Acquire(flight->call.priority, flight->call.deadline,
                    [weak = weak_from_this(), flight](absl::Status turn) {
                      if (Entry self(weak); self) self->Send(flight, std::move(turn));
                    });
}

void UpstreamExchange::Send(const FlightPtr& flight, absl::Status turn) {
  const ExchangeCall& call = flight->call;
  if (!turn.ok()) {
    // What Segmind said last tells more than that no time is left to ask again.
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
    Note(call.subject.call, 401);
    return Finish(flight, {.status = Error(absl::StatusCode::kInternal,
                                           pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
                                           "the gateway has no usable API key for Segmind")
                                         .Metadata("call", NameOf(call.subject.call)),
                           .no_key = true,
                           .start_time = now});
  }
  flight->key = *key;
  flight->sent = true;
  flight->start_time = now;
  flight->span = StartCallSpan(call.request, call.trace, now, flight->tries++);
  HttpRequest request = call.request;
  request.secret_headers = {{"x-api-key", *std::move(key)}};
  if (const TraceContext& trace = flight->span.context(); trace.valid()) {
    request.headers.emplace_back("traceparent", trace.Traceparent());
    if (trace.state != nullptr) request.headers.emplace_back("tracestate", *trace.state);
  }
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
  Count(call.subject.call, code, now - flight->start_time);
  EndCallSpan(flight->span, result);
  if (result.status.code() != absl::StatusCode::kCancelled) Note(call.subject.call, code);
  if (result.status.ok()) return OnAnswer(flight, std::move(result.response));

  const bool caller_gave_up = !call.once && now + absl::Milliseconds(5) >= call.deadline;
  ExchangeResult failed{.status = StatusOfTransport(call.subject, result.status, caller_gave_up),
                        .sent = result.sent,
                        .start_time = flight->start_time};
  RetryLater(flight, std::move(failed));
}

void UpstreamExchange::OnAnswer(const FlightPtr& flight, HttpResponse response) {
  const ExchangeCall& call = flight->call;
  const int code = response.code;
  ExchangeResult result{.sent = true, .start_time = flight->start_time};
  if (code >= 200 && code < 300) {
    result.response = std::move(response);
    return Finish(flight, std::move(result));
  }
  const absl::Time now = clock_.Now();
  result.status = StatusOfAnswer(call.subject, response, now, flight->key);
  if (code == 429) HoldForLimit(response, now);
  result.response = std::move(response);
  bool again = code == 429 && !call.once;
  if (code == 401 && !flight->key_reread) {
    // It took nothing: even a submit may be sent again.
    flight->key_reread = true;
    again = key_.Reread(flight->key);
  }
  if (again) {
    flight->last_result = std::move(result);
    return Queue(flight);
  }
  RetryLater(flight, std::move(result));
}

void UpstreamExchange::RetryLater(const FlightPtr& flight, ExchangeResult result) {
  const absl::Time when = clock_.Now() + flight->backoff.Next();
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

void UpstreamExchange::HoldForLimit(const HttpResponse& response, absl::Time now) {
  absl::Time until;
  {
    MutexLock lock(mu_);
    const absl::Duration guess = limited_backoff_.Next();
    // A clock that is a little ahead of ours would let us go too early.
    until = std::max(ResetTimeOf(response, now).value_or(now + guess), now + absl::Seconds(1));
  }
  limiter_->HoldUntil(until);
}

void UpstreamExchange::Note(UpstreamCall call, int code) {
  MutexLock lock(mu_);
  if (code == 401 || code == 403) {
    latest_ = pb::GatewayStatus::CREDENTIAL_REJECTED;
  } else if (code < 200 || code >= 500 || code == 429 || (code >= 300 && code < 400)) {
    latest_ = pb::GatewayStatus::DEGRADED;
  } else {
    latest_ = pb::GatewayStatus::HEALTHY;
  }
  if (code != 0 && code != 429) limited_backoff_.Reset();
  if (call == UpstreamCall::kSubmit && latest_ == pb::GatewayStatus::HEALTHY)
    retired_ = code == 410;
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
