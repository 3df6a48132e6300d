#include "server/otlp/span_exporter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "server/base/log.h"
#include "server/otlp/otlp_json.h"

namespace finetune {
namespace {

constexpr absl::Duration kFirstRetry = absl::Seconds(1);
constexpr absl::Duration kLastRetry = absl::Seconds(20);
// A batch is given up after this long.
constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr size_t kMaxAnswer = size_t{64} << 10;

prometheus::Counter& Dropped(Metrics& metrics, const char* reason) {
  return metrics.Counter("finetune_gateway_spans_dropped_total",
                         "Spans that were recorded and not exported: the queue was full, the "
                         "collector refused them or could not be reached.",
                         {{"reason", reason}});
}

// Whether the collector may take the same batch later: after the codes in OTLP's list, or no answer
// at all.
bool MayTakeLater(const HttpResult& result) {
  if (!result.status.ok())
    return absl::IsUnavailable(result.status) || absl::IsDeadlineExceeded(result.status);
  const int code = result.response.code;
  return code == 429 || code == 502 || code == 503 || code == 504;
}

// Only a number of seconds is understood, not a date.
absl::Duration RetryAfterOf(const HttpResponse& response) {
  const std::string_view text = response.Header("retry-after");
  int64_t seconds = 0;
  if (!absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &seconds) || seconds < 0)
    return absl::ZeroDuration();
  return absl::Seconds(seconds);
}

}  // namespace

SpanExporter::SpanExporter(TraceSettings settings, std::unique_ptr<HttpClient> http, Clock& clock,
                           Metrics& metrics)
    : settings_(std::move(settings)),
      http_(std::move(http)),
      clock_(clock),
      exported_(metrics.Counter("finetune_gateway_spans_exported_total",
                                "Spans that the collector took.")),
      dropped_full_(Dropped(metrics, "queue_full")),
      dropped_refused_(Dropped(metrics, "refused")),
      dropped_unreachable_(Dropped(metrics, "unreachable")),
      backoff_(kFirstRetry, kLastRetry),
      worker_("spans") {
  Arm();
}

SpanExporter::~SpanExporter() { Stop(absl::InfinitePast()); }

void SpanExporter::Arm() {
  MutexLock lock(mu_);
  if (stopped_) return;
  timer_ = clock_.RunAfter(settings_.schedule_delay, [this] {
    worker_.Post([this] { Send(1); });
    Arm();
  });
}

void SpanExporter::OnEnd(SpanRecord record) {
  bool full = false;
  {
    MutexLock lock(mu_);
    if (!stopped_ && queue_.size() < settings_.max_queue) {
      queue_.push_back(std::move(record));
      if (queue_.size() != settings_.max_batch) return;
      full = true;
    }
  }
  if (full)
    worker_.Post([this] { Send(settings_.max_batch); });
  else
    dropped_full_.Increment();
}

void SpanExporter::Send(size_t least) {
  if (batch_size_ > 0) return;
  std::vector<SpanRecord> batch;
  {
    MutexLock lock(mu_);
    const size_t size = std::min(queue_.size(), settings_.max_batch);
    if (size >= least) {
      const auto end = queue_.begin() + static_cast<ptrdiff_t>(size);
      batch.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
  }
  if (batch.empty()) return flushing_ ? EndFlush() : void();
  batch_size_ = batch.size();
  body_ = ExportRequestJson(settings_.resource, batch);
  give_up_at_ = clock_.Now() + kPatience;
  PostBatch();
}

void SpanExporter::PostBatch() {
  in_flight_ = true;
  HttpRequest request{.method = "POST",
                      .url = settings_.url,
                      .headers = {{"Content-Type", "application/json"}},
                      .secret_headers = settings_.headers,
                      .body = body_,
                      .deadline = clock_.Now() + settings_.timeout,
                      .max_body_bytes = kMaxAnswer};
  http_->Start(std::move(request), [this](HttpResult result) {
    worker_.Post([this, result = std::move(result)] { OnAnswer(result); });
  });
}

void SpanExporter::OnAnswer(const HttpResult& result) {
  in_flight_ = false;
  if (result.status.ok() && result.response.code / 100 == 2) return TakeExported(result.response);
  NoteFailure(result);
  if (!MayTakeLater(result))
    return Drop(result.status.ok() ? dropped_refused_ : dropped_unreachable_);
  Retry(RetryAfterOf(result.response));
}

void SpanExporter::TakeExported(const HttpResponse& response) {
  const int64_t size = static_cast<int64_t>(batch_size_);
  const int64_t rejected = std::clamp<int64_t>(RejectedSpans(response.body), 0, size);
  exported_.Increment(static_cast<double>(size - rejected));
  dropped_refused_.Increment(static_cast<double>(rejected));
  if (std::exchange(failing_, false))
    Log(LogLevel::kInfo, "traces can be exported again", {{"collector", settings_.collector}});
  backoff_.Reset();
  EndBatch();
}

void SpanExporter::Retry(absl::Duration at_least) {
  const absl::Time when = clock_.Now() + std::max(backoff_.Next(), at_least);
  if (flushing_ || when > give_up_at_) return Drop(dropped_unreachable_);
  retry_timer_ = clock_.RunAt(when, [this] {
    worker_.Post([this] {
      // A flush may have come first.
      if (batch_size_ > 0 && !in_flight_) PostBatch();
    });
  });
}

void SpanExporter::Drop(prometheus::Counter& reason) {
  reason.Increment(static_cast<double>(batch_size_));
  EndBatch();
}

void SpanExporter::EndBatch() {
  batch_size_ = 0;
  body_.clear();
  // A collector that has been failing gets no more at the end, either.
  if (flushing_ && failing_) return EndFlush();
  Send(flushing_ ? 1 : settings_.max_batch);
}

void SpanExporter::NoteFailure(const HttpResult& result) {
  if (std::exchange(failing_, true)) return;
  Log(LogLevel::kWarning, "traces cannot be exported",
      {{"collector", settings_.collector},
       {"http_code", result.status.ok() ? result.response.code : 0},
       {"error", result.status.ok() ? std::string() : result.status.ToString()}});
}

void SpanExporter::BeginFlush() {
  flushing_ = true;
  if (batch_size_ == 0) return Send(1);
  // Tries what waits for a later try once more, at once.
  if (!in_flight_) PostBatch();
}

void SpanExporter::EndFlush() {
  MutexLock lock(mu_);
  flushed_ = true;
  changed_.NotifyAll();
}

void SpanExporter::Stop(absl::Time deadline) {
  Clock::TimerId timer;
  {
    MutexLock lock(mu_);
    if (stopped_) return;
    stopped_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
  if (deadline <= clock_.Now()) EndFlush();
  const Clock::TimerId last = clock_.RunAt(deadline, [this] { EndFlush(); });
  worker_.Post([this] { BeginFlush(); });
  {
    MutexLock lock(mu_);
    while (!flushed_) changed_.Wait(mu_);
  }
  clock_.Cancel(last);
  http_->Shutdown();
  worker_.Stop();
  clock_.Cancel(retry_timer_);
  MutexLock lock(mu_);
  dropped_unreachable_.Increment(static_cast<double>(queue_.size() + batch_size_));
  queue_.clear();
}

}  // namespace finetune
