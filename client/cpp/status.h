// What a failure says beyond its code: the google.rpc details that the gateway attaches.
#pragma once

#include <grpcpp/support/status.h>
#include <segmind/finetune/v1/fine_tune_service.pb.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "server/base/error_details.h"

namespace finetune::inline client {

namespace pb = ::segmind::finetune::v1;

// Keeps code and message; each detail becomes a payload under its type URL
// (`type.googleapis.com/google.rpc.…`). Details that cannot be read are left out.
absl::Status ToStatus(const grpc::Status& status);

// The detail of type T, if the status carries one: rpc::BadRequest and the like, or the message of
// the same name in Google's own google.rpc.
template <typename T>
std::optional<T> DetailOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(DetailUrl<T>());
  T detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

// REASON_UNSPECIFIED if there is none, if it is not the gateway's, or if this build does not know
// it.
pb::ErrorReason::Reason ErrorReasonOf(const absl::Status& status);

// The reason's name, even if this build does not know it; empty if there is no reason.
std::string ErrorReasonNameOf(const absl::Status& status);

// What a failure carries, in one place.
struct Error {
  struct Violation {
    // A field of the request, or the name of a quota.
    std::string subject;
    std::string description;
  };

  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  // ErrorReasonNameOf().
  std::string reason;
  // Fields of the request that are wrong, with what is wrong with each.
  std::vector<Violation> violations;
  // The caller's own limits that are reached.
  std::vector<Violation> quota;
  std::optional<absl::Duration> retry_delay;
  // Of a submission that failed: the job may be submitted again with it, and is made only once.
  std::string request_id;
  // The fault is with a file or disk of this machine.
  bool local = false;
};
Error ErrorOf(const absl::Status& status);

// For small programs: returns the value, or ends the process with one line about the failure.
[[noreturn]] void ExitWith(const absl::Status& status);
template <typename T>
T OrExit(absl::StatusOr<T> result) {
  if (!result.ok()) ExitWith(result.status());
  return *std::move(result);
}

// The failure of a submission, with the request_id that it used.
absl::Status WithRequestId(absl::Status status, const std::string& request_id);

// DEADLINE_EXCEEDED for a wait whose own time ran out, and whether a status is that error.
absl::Status WaitTimeout(const pb::FineTune& job);
bool IsWaitTimeout(const absl::Status& status);

// How long the server asks to wait before trying again. Never negative.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

}  // namespace finetune::inline client
