#include "server/web/webhook_door.h"

#include <utility>

#include "server/base/log.h"
#include "server/segmind/webhook_event.h"

namespace finetune {
namespace {

constexpr std::string_view kPath = "/webhooks/segmind/";
// The token itself is shown nowhere.
constexpr std::string_view kRoute = "/webhooks/segmind/{token}";
constexpr std::string_view kSpanName = "POST /webhooks/segmind/{token}";

prometheus::Counter& Results(Metrics& metrics, const std::string& result) {
  return metrics.Counter(
      "finetune_gateway_webhooks_total",
      "Webhook calls by result: hint, unreadable (names no job: all are looked at), "
      "not_found (wrong token or path), refused (wrong verb, too long).",
      {{"result", result}});
}

}  // namespace

WebhookDoor::WebhookDoor(WebhookTokens& tokens, Hint hint, Clock& clock, Metrics& metrics,
                         Tracer& tracer)
    : tokens_(tokens),
      hint_(std::move(hint)),
      clock_(clock),
      tracer_(tracer),
      hinted_(Results(metrics, "hint")),
      unreadable_(Results(metrics, "unreadable")),
      unknown_path_(Results(metrics, "not_found")),
      refused_(Results(metrics, "refused")) {}

std::optional<WebReply> WebhookDoor::Judge(const WebRequest& request) {
  if (!request.path.starts_with(kPath) || !tokens_.Accepts(request.path.substr(kPath.size()))) {
    unknown_path_.Increment();
    return WebReply{.code = 404, .body = "not found\n"};
  }
  if (request.method == "POST") return std::nullopt;
  refused_.Increment();
  return WebReply{.code = 405, .body = "only POST\n", .headers = {{"Allow", "POST"}}};
}

WebReply WebhookDoor::Take(const WebRequest& request) {
  Span span = tracer_.Start(clock_.Now(), SpanKind::kServer, kSpanName, {});
  WebReply reply = TakeEvent(request, span);
  span.Set("http.request.method", request.method);
  span.Set("http.route", kRoute);
  span.Set("http.response.status_code", reply.code);
  return reply;
}

WebReply WebhookDoor::TakeEvent(const WebRequest& request, Span& span) {
  {
    MutexLock lock(mu_);
    last_event_time_ = clock_.WallNow();
  }
  const TraceContext& trace = span.context();
  if (request.body_too_long) {
    refused_.Increment();
    hint_("", trace);
    return {.code = 413, .body = "too long\n"};
  }
  auto event = ParseWebhook(request.body);
  (event ? hinted_ : unreadable_).Increment();
  Log(LogLevel::kInfo, event ? "webhook" : "webhook that names no job: all are looked at",
      {{"trace_id", trace.TraceId()},
       {"span_id", trace.SpanId()},
       {"bytes", request.body.size()},
       {"upstream_id", event ? event->id : ""},
       {"status", event ? event->status : ""}});
  if (event) span.Set("finetune.upstream_id", event->id);
  hint_(event ? std::move(event->id) : "", trace);
  return {.body = "ok\n"};
}

absl::Time WebhookDoor::last_event_time() const {
  MutexLock lock(mu_);
  return last_event_time_;
}

}  // namespace finetune
