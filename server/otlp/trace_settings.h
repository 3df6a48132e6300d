#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/secret.h"
#include "server/base/trace.h"

namespace finetune {

// What OpenTelemetry's environment variables say about traces.
struct TraceSettings {
  // Where spans are posted to. Empty: tracing is off, and the rest says nothing.
  std::string url;
  // Of that, HOST:PORT, for the log.
  std::string collector;
  // Values are often keys.
  std::vector<std::pair<std::string, Secret>> headers;
  std::string ca_file;  // Empty: the system's.
  // What is said of this process; service.name and service.version are always there.
  std::vector<std::pair<std::string, std::string>> resource;
  Tracer::Sampling sampling;
  // For one try to export a batch.
  absl::Duration timeout = absl::Seconds(10);
  // A span waits at most so long to be exported, and less when a batch is full.
  absl::Duration schedule_delay = absl::Seconds(5);
  // Spans that wait; more are dropped.
  size_t max_queue = 2048;
  size_t max_batch = 512;

  bool enabled() const { return !url.empty(); }
};

// Reads the variables; `environment` gives one's value, or null. README lists those that count.
// INVALID_ARGUMENT names the variable, and never shows a header's value.
absl::StatusOr<TraceSettings> ReadTraceSettings(
    const std::function<const char*(const std::string& name)>& environment);

}  // namespace finetune
