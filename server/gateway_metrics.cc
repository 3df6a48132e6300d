#include "server/gateway_metrics.h"

#include <algorithm>

namespace finetune {

GatewayMetrics::GatewayMetrics(const Parts& parts, absl::Time start_time)
    : parts_(parts),
      start_time_(start_time),
      view_age_(parts.metrics.Gauge("finetune_gateway_view_age_seconds",
                                    "Since the newest whole read of Segmind that the view includes "
                                    "began; since the start, before the first.")),
      calls_left_(parts.metrics.Gauge("finetune_gateway_upstream_calls_left",
                                      "Calls left in this minute of Segmind's rate limit.")),
      upstream_state_(parts.metrics.Gauge(
          "finetune_gateway_upstream_state",
          "How Segmind answers: 1 healthy, 2 degraded, 3 retired, 4 the API key is refused.")),
      store_writable_(parts.metrics.Gauge("finetune_gateway_store_writable",
                                          "Whether the last write to the store succeeded.")) {
  parts.metrics
      .Gauge("finetune_gateway_build_info", "1, with the version.", {{"version", FINETUNE_VERSION}})
      .Set(1);
  parts.metrics.Gauge("process_start_time_seconds", "When the process started, since 1970.")
      .Set(absl::ToDoubleSeconds(parts.clock.ToWall(start_time) - absl::UnixEpoch()));
}

void GatewayMetrics::Update() {
  const absl::Time now = parts_.clock.Now();
  const absl::Time observed = std::max(parts_.catalog.observe_time(), start_time_);
  view_age_.Set(absl::ToDoubleSeconds(now - observed));
  calls_left_.Set(parts_.segmind.calls_left());
  upstream_state_.Set(parts_.tracker.upstream_state());
  parts_.segmind.credits().UpdateMetrics(now);
  store_writable_.Set(parts_.recorder.store_status().ok() ? 1 : 0);
}

}  // namespace finetune
