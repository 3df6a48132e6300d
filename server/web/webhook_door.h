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

// The public door: POST /webhooks/segmind/{token}. What a webhook says is a hint that is passed on
// and confirmed by a read; nothing else is believed. Whatever comes with a good token means that
// something has happened, whether it can be read or not. Without one nothing is shown and no body
// is read: a wrong token is as unknown as a wrong path. Thread-safe.
class WebhookDoor : public WebDoor {
 public:
  // Told of the job that an event names, or of "" where it names none: then all of them are to be
  // looked at. Must not block.
  using Hint = std::function<void(std::string upstream_id, const TraceContext& trace)>;

  // Events with a valid token are spans of `tracer`, each the root of its trace: what the internet
  // says of traces does not count here.
  WebhookDoor(WebhookTokens& tokens, Hint hint, Clock& clock, Metrics& metrics, Tracer& tracer);

  std::optional<WebReply> Judge(const WebRequest& request) override;
  WebReply Take(const WebRequest& request) override ABSL_LOCKS_EXCLUDED(mu_);

  // When the last event with a valid token came; InfinitePast before the first.
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
