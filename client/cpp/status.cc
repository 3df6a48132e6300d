#include "client/cpp/status.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"

namespace finetune::inline client {
namespace {

constexpr char kDomain[] = "segmind-finetune-gateway";
constexpr char kRequestId[] = "finetune.client/request_id";
constexpr char kWaitTimeout[] = "finetune.client/wait_timeout";

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

Error ErrorOf(const absl::Status& status) {
  Error error{.code = status.code(),
              .message = std::string(status.message()),
              .reason = ErrorReasonNameOf(status),
              .retry_delay = RetryDelayOf(status),
              .request_id = std::string(status.GetPayload(kRequestId).value_or(absl::Cord())),
              .local = IsLocalFileError(status)};
  if (const auto request = DetailOf<rpc::BadRequest>(status)) {
    for (const auto& violation : request->field_violations())
      error.violations.push_back({violation.field(), violation.description()});
  }
  if (const auto quota = DetailOf<rpc::QuotaFailure>(status)) {
    for (const auto& violation : quota->violations())
      error.quota.push_back({violation.subject(), violation.description()});
  }
  return error;
}

void ExitWith(const absl::Status& status) {
  const Error error = ErrorOf(status);
  std::fprintf(stderr, "%s%s%s\n", error.message.c_str(), error.reason.empty() ? "" : ": ",
               error.reason.c_str());
  std::exit(1);
}

absl::Status WithRequestId(absl::Status status, const std::string& request_id) {
  status.SetPayload(kRequestId, absl::Cord(request_id));
  return status;
}

absl::Status WaitTimeout(const pb::FineTune& job) {
  absl::Status status = absl::DeadlineExceededError(
      absl::StrCat("the time to wait is over; the job is ", pb::FineTune::State_Name(job.state())));
  status.SetPayload(kWaitTimeout, absl::Cord());
  return status;
}

bool IsWaitTimeout(const absl::Status& status) {
  return status.GetPayload(kWaitTimeout).has_value();
}

}  // namespace finetune::inline client
