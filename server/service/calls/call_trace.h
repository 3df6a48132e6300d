#pragma once

#include <grpcpp/server_context.h>

#include <string_view>

#include "absl/status/status.h"
#include "server/base/trace.h"

namespace finetune {

struct Call;

// What the client's `traceparent` and `tracestate` say; no trace if it sent none, or none that is
// valid.
TraceContext TraceOf(const grpc::ServerContextBase& context);

// What the span of a call says at its end, by OpenTelemetry's conventions for gRPC servers.
// `peer`: as gRPC writes it.
void DescribeCall(const Call& call, std::string_view method, const std::string& peer,
                  const absl::Status& status, Span& span);

}  // namespace finetune
