// What a call's failure says, beyond its code: the google.rpc details that the gateway attaches.
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

// The detail of type T, if the status carries one: rpc::BadRequest and its like, or the message of
// the same name from Google's own google.rpc.
template <typename T>
std::optional<T> DetailOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(DetailUrl<T>());
  T detail;
  if (!payload || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

// REASON_UNSPECIFIED when there is none, when it is not the gateway's, or when this build
// does not know it.
pb::ErrorReason::Reason ErrorReasonOf(const absl::Status& status);

// The reason's name, even if this build does not know it; empty if there is no reason.
std::string ErrorReasonNameOf(const absl::Status& status);

// What a failure carries, in one place.
struct Error {
  struct Violation {
    // Of the request; of a quota, its name.
    std::string subject;
    std::string description;
  };

  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  // ErrorReasonNameOf().
  std::string reason;
  // Fields of the request that are wrong, with what is wrong with each.
  std::vector<Violation> violations;
  // Limits of the caller's own that are reached.
  std::vector<Violation> quota;
  std::optional<absl::Duration> retry_delay;
  // Of a submission that failed: with it the job may be submitted again, and is made once.
  std::string request_id;
  // A file or disk of this machine is at fault, nobody else.
  bool local = false;
};
Error ErrorOf(const absl::Status& status);

// For small programs: the value, or the end of the process with the failure in one line.
[[noreturn]] void ExitWith(const absl::Status& status);
template <typename T>
T OrExit(absl::StatusOr<T> result) {
  if (!result.ok()) ExitWith(result.status());
  return *std::move(result);
}

// The failure of a submission, with the id that it was tried with.
absl::Status WithRequestId(absl::Status status, const std::string& request_id);

// DEADLINE_EXCEEDED for a wait whose own time ran out, and whether a status is that.
absl::Status WaitTimeout(const pb::FineTune& job);
bool IsWaitTimeout(const absl::Status& status);

// How long the server asks to wait before trying again. Never negative.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

}  // namespace finetune::inline client
