#include "client/cpp/status.h"

#include <algorithm>

namespace finetune::inline client {
namespace {

constexpr char kDomain[] = "segmind-finetune-gateway";

}  // namespace

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
    }
  }
  return result;
}

pb::ErrorReason::Reason ErrorReasonOf(const absl::Status& status) {
  pb::ErrorReason::Reason reason = pb::ErrorReason::REASON_UNSPECIFIED;
  pb::ErrorReason::Reason_Parse(ErrorReasonNameOf(status), &reason);
  return reason;
}

std::string ErrorReasonNameOf(const absl::Status& status) {
  const auto info = DetailOf<rpc::ErrorInfo>(status);
  if (!info || info->domain() != kDomain) return "";
  return info->reason();
}

std::optional<absl::Duration> RetryDelayOf(const absl::Status& status) {
  const auto info = DetailOf<rpc::RetryInfo>(status);
  if (!info || !info->has_retry_delay()) return std::nullopt;
  return std::max(absl::ZeroDuration(), absl::Seconds(info->retry_delay().seconds()) +
                                            absl::Nanoseconds(info->retry_delay().nanos()));
}

}  // namespace finetune::inline client
