#include "server/service/calls/call_metrics.h"

namespace finetune {
namespace {

// The codes in the spelling that Go's metrics use; indexed by code.
constexpr const char* kCodeNames[] = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

std::string TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

}  // namespace

MethodMetrics::MethodMetrics(Metrics& metrics, const google::protobuf::MethodDescriptor& method) {
  const std::string type = TypeOf(method);
  Register(metrics,
           {{"grpc_type", type},
            {"grpc_service", method.service()->full_name()},
            {"grpc_method", method.name()}},
           type == "unary");
}

MethodMetrics::MethodMetrics(Metrics& metrics) {
  Register(metrics,
           {{"grpc_type", "unary"}, {"grpc_service", "unknown"}, {"grpc_method", "unknown"}},
           /*unary=*/false);
}

void MethodMetrics::Register(Metrics& metrics, const Metrics::Labels& labels, bool unary) {
  started_ = &metrics.Counter("grpc_server_started_total", "Calls started.", labels);
  received_ = &metrics.Counter("grpc_server_msg_received_total", "Messages received.", labels);
  sent_ = &metrics.Counter("grpc_server_msg_sent_total", "Messages sent.", labels);
  if (unary)
    seconds_ = &metrics.Histogram("grpc_server_handling_seconds", "Seconds that unary calls took.",
                                  kLatencyBuckets, labels);
  for (int code = 0; code < kCodes; ++code) {
    Metrics::Labels with_code = labels;
    with_code["grpc_code"] = kCodeNames[code];
    handled_[code] =
        &metrics.Counter("grpc_server_handled_total", "Calls ended, by code.", with_code);
  }
}

void MethodMetrics::OnHandled(absl::StatusCode code, absl::Duration took) {
  const int index = static_cast<int>(code);
  handled_[index >= 0 && index < kCodes ? index : 2]->Increment();
  if (seconds_ != nullptr) seconds_->Observe(absl::ToDoubleSeconds(took));
}

}  // namespace finetune
