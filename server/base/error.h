#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "server/base/utf8.h"

namespace finetune {

namespace pb = ::segmind::finetune::v1;

// The `domain` of every ErrorInfo.
inline constexpr std::string_view kErrorDomain = "segmind-finetune-gateway";

// Makes a typed error: an absl::Status that carries google.rpc details as payloads under their type
// URLs, which service/ copies to the wire. Each detail comes at most once. Details that do not fit
// into the metadata of an answer are left out there (ToGrpcStatus).
//
//   return Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
//                "no fine-tune 'fineTunes/x'")
//       .Resource("segmind.finetune.v1.FineTune", "fineTunes/x");
class Error {
 public:
  Error(absl::StatusCode code, pb::ErrorReason::Reason reason, std::string_view message);

  // Adds to ErrorInfo.metadata. Values over 256 bytes are cut.
  Error&& Metadata(std::string_view key, std::string_view value) &&;
  Error&& RetryAfter(absl::Duration delay) &&;
  // BadRequest; call it once for each field.
  Error&& Field(std::string_view field, std::string_view description) &&;
  Error&& Quota(std::string_view subject, std::string_view description) &&;
  Error&& Resource(std::string_view type, std::string_view name) &&;

  operator absl::Status() &&;  // NOLINT: it is what the class is for.

 private:
  struct Details;
  absl::StatusCode code_;
  std::string message_;
  std::shared_ptr<Details> details_;
};

// What Error put into a status; REASON_UNSPECIFIED or nullopt if it put none there.
pb::ErrorReason::Reason ReasonOf(const absl::Status& status);
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// An error with its details as a serialised google.rpc.Status, and back. Bytes that cannot be read
// become UNKNOWN.
std::string EncodeStatus(const absl::Status& status);
absl::Status DecodeStatus(const std::string& bytes);

}  // namespace finetune
