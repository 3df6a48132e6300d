#include "server/service/calls/call_trace.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/access/peer_address.h"
#include "server/base/error.h"
#include "server/service/calls/call_gate.h"

namespace finetune {
namespace {

// Whether OpenTelemetry's convention counts the code as the server's failure rather than the
// client's.
bool IsServersFailure(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace

TraceContext TraceOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found == metadata.end()) return {};
  auto trace = ParseTraceparent({found->second.data(), found->second.size()});
  if (!trace) return {};
  // Several headers are one list that was split between its members.
  std::string state;
  const auto [first, last] = metadata.equal_range("tracestate");
  for (auto part = first; part != last; ++part)
    absl::StrAppend(&state, state.empty() ? "" : ",",
                    absl::string_view(part->second.data(), part->second.size()));
  trace->state = ParseTracestate(state);
  return *std::move(trace);
}

void DescribeCall(const Call& call, std::string_view method, const std::string& peer,
                  const absl::Status& status, Span& span) {
  span.Set("rpc.system", "grpc");
  span.Set("rpc.service", pb::FineTuneService::service_full_name());
  span.Set("rpc.method", method);
  span.Set("rpc.grpc.status_code", static_cast<int>(status.code()));
  if (const std::string address = AddressOf(peer); !address.empty())
    span.Set("network.peer.address", address);
  if (call.caller && !call.caller->identity.empty())
    span.Set("finetune.caller", call.caller->identity);
  if (!call.fine_tune.empty()) span.Set("finetune.name", call.fine_tune);
  const pb::ErrorReason::Reason reason = ReasonOf(status);
  if (reason != pb::ErrorReason::REASON_UNSPECIFIED)
    span.Set("finetune.reason", pb::ErrorReason::Reason_Name(reason));
  if (!IsServersFailure(status.code())) return;
  const absl::string_view message = status.message();
  span.Fail(absl::StatusCodeToString(status.code()),
            std::string_view(message.data(), message.size()));
}

}  // namespace finetune
