#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/environment.h"
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
  // A span waits at most this long to be exported, and less when a batch is full.
  absl::Duration schedule_delay = absl::Seconds(5);
  // Spans that wait; more are dropped.
  size_t max_queue = 2048;
  size_t max_batch = 512;

  // One sentence for each variable that was not understood; it names the variable and shows no
  // header.
  std::vector<std::string> warnings;

  bool enabled() const { return !url.empty(); }
};

// Reads OpenTelemetry's variables; deploy/README.md lists those that count. They are often set for
// a whole cluster and for other programs, so an unusable value is never an error: its default is
// used instead or, if there is no sensible one, nothing is traced.
TraceSettings ReadTraceSettings(const Environment& environment);

}  // namespace finetune
