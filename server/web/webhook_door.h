#pragma once

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/trace.h"
#include "server/web/web_door.h"
#include "server/web/webhook_tokens.h"

namespace finetune {

// The public door: POST /webhooks/segmind/{token}. A webhook is only a hint, which is passed on and
// confirmed by a read; nothing in it is believed. A request with a good token means that something
// has happened, even if it cannot be read. Without a good token nothing is shown and no body is
// read: a wrong token looks like a wrong path. Thread-safe.
class WebhookDoor : public WebDoor {
 public:
  // Gets the job that an event names, or "" if it names none and all jobs are to be looked at. Must
  // not block.
  using Hint = std::function<void(std::string upstream_id, const TraceContext& trace)>;

  // Each event with a valid token is a span of `tracer` and the root of its trace: trace headers
  // from the internet are ignored.
  WebhookDoor(WebhookTokens& tokens, Hint hint, Clock& clock, Metrics& metrics, Tracer& tracer);

  std::optional<WebReply> Judge(const WebRequest& request) override;
  WebReply Take(const WebRequest& request) override ABSL_LOCKS_EXCLUDED(mu_);

  // When the last event with a valid token came, by the time of day; InfinitePast before the first.
  absl::Time last_event_time() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  WebReply TakeEvent(const WebRequest& request, Span& span) ABSL_LOCKS_EXCLUDED(mu_);

  WebhookTokens& tokens_;
  const Hint hint_;
  Clock& clock_;
  Tracer& tracer_;
  prometheus::Counter& hinted_;
  prometheus::Counter& unreadable_;
  prometheus::Counter& unknown_path_;
  prometheus::Counter& refused_;

  mutable Mutex mu_;
  absl::Time last_event_time_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace finetune
