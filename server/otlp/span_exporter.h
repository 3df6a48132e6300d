#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/base/backoff.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/trace.h"
#include "server/base/worker.h"
#include "server/http/http_client.h"
#include "server/otlp/trace_settings.h"

namespace finetune {

// Posts recorded spans to a collector, as OTLP over HTTP in JSON. Spans wait in a bounded queue and
// leave in batches, one at a time, from a thread of its own ("spans"); a batch that the collector
// cannot take now is retried for a minute. Whatever the collector does, nobody waits for it: what
// does not fit into the queue is dropped, and counted. Thread-safe; owned by the gateway.
//
// It uses JSON because every collector takes it on the same port and path as protobuf, and because
// it needs no copy of OpenTelemetry's protos.
class SpanExporter : public SpanSink {
 public:
  // `http` is the exporter's own, so that the collector takes no connection, thread or time from
  // Segmind. `clock` and `metrics` outlive it.
  SpanExporter(TraceSettings settings, std::unique_ptr<HttpClient> http, Clock& clock,
               Metrics& metrics);
  ~SpanExporter() override;

  void OnEnd(SpanRecord record) override ABSL_LOCKS_EXCLUDED(mu_);

  // Exports what is queued, until `deadline`, and drops the rest and what comes later. Blocks until
  // then. Idempotent.
  void Stop(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Arm() ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the next batch if none is under way and at least this many spans are waiting.
  void Send(size_t least) ABSL_LOCKS_EXCLUDED(mu_);
  void PostBatch();
  void OnAnswer(const HttpResult& result);
  void TakeExported(const HttpResponse& response);
  // Tries again later, or gives the batch up.
  void Retry(absl::Duration at_least);
  void Drop(prometheus::Counter& reason);
  void EndBatch();
  void NoteFailure(const HttpResult& result);
  void BeginFlush();
  void EndFlush() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const TraceSettings settings_;
  const std::unique_ptr<HttpClient> http_;
  Clock& clock_;
  prometheus::Counter& exported_;
  prometheus::Counter& dropped_full_;
  prometheus::Counter& dropped_refused_;
  prometheus::Counter& dropped_unreachable_;

  // Exporter's thread only.
  std::string body_;       // Of the batch under way.
  size_t batch_size_ = 0;  // 0: there is none.
  bool in_flight_ = false;
  bool flushing_ = false;
  bool failing_ = false;
  absl::Time give_up_at_;
  Clock::TimerId retry_timer_ = Clock::kNoTimer;
  Backoff backoff_;

  Mutex mu_;
  CondVar changed_;
  std::deque<SpanRecord> queue_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool flushed_ ABSL_GUARDED_BY(mu_) = false;  // Or there is no time left for it.

  Worker worker_;
};

}  // namespace finetune
