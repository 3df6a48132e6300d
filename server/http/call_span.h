#pragma once

#include "absl/time/time.h"
#include "server/base/trace.h"
#include "server/http/http_client.h"
#include "server/http/http_stream.h"

namespace finetune {

// Spans of calls over HTTP, by OpenTelemetry's conventions for clients. They show no queries,
// headers or bodies.

// One try of a call to Segmind, whose paths hold nothing but the call's name. `tries_before`: of
// the same call.
Span StartCallSpan(const HttpRequest& request, const TraceContext& trace, absl::Time start,
                   int tries_before);
void EndCallSpan(Span& span, const HttpResult& result);

// A dataset or weights on their way. Of the URL, which is often as good as a key, only the host.
Span StartStreamSpan(const StreamRequest& request);
// `code`: of the answer's head; 0 if there was none.
void EndStreamSpan(Span& span, int code, const absl::Status& status);

}  // namespace finetune
