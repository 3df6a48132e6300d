#include "client/cli/exit_code.h"

#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/field_words.h"
#include "client/cli/text.h"
#include "client/cpp/local_file.h"
#include "client/cpp/status.h"

namespace finetune::cli {
namespace {

std::string WaitAdvice(const absl::Status& status, std::string_view otherwise) {
  const auto delay = RetryDelayOf(status);
  if (!delay) return std::string(otherwise);
  return absl::StrCat("Try again in ", ShortDuration(std::max(*delay, absl::Seconds(1))), ".");
}

// Names the job's fields by their flags. But in a filter they are words of its language, and what
// Segmind says is quoted.
std::string InWordsFor(std::string_view field, std::string_view sentence) {
  if (field == "filter" || field == "order_by") return std::string(sentence);
  return InWordsOfFlags(sentence);
}

std::string AdviceByReason(const absl::Status& status) {
  switch (ErrorReasonOf(status)) {
    case pb::ErrorReason::REQUEST_ID_REUSED:
      return "This --request-id was used for another job: leave it out to get a new one.";
    case pb::ErrorReason::FINE_TUNE_NOT_FOUND:
      return "`finetune list` shows the jobs that exist.";
    case pb::ErrorReason::ETAG_MISMATCH:
      return "The job has changed: look at it with `finetune get` and use its new etag.";
    case pb::ErrorReason::WEIGHTS_NOT_READY:
      return "Wait for them with `finetune wait NAME --until TRAINED`.";
    case pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED:
      return "Segmind's account needs more credits.";
    case pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED:
      return "The gateway's own API key is refused: tell whoever operates the gateway.";
    case pb::ErrorReason::UPSTREAM_RETIRED:
      return "Segmind takes no new jobs; get, list, watch and download still work.";
    case pb::ErrorReason::CREDENTIALS_MISSING:
      return "Give a token with --token-file, or a certificate with --tls-cert and --tls-key.";
    case pb::ErrorReason::CREDENTIALS_INVALID:
      return "The token or certificate is not valid here, or has expired.";
    case pb::ErrorReason::ROLE_NOT_ALLOWED:
      return "Your identity may not do this: ask whoever operates the gateway.";
    case pb::ErrorReason::STORE_UNAVAILABLE:
      return "The gateway cannot write its store; reads still work. Try again later.";
    case pb::ErrorReason::CHECKSUM_MISMATCH:
      return "The bytes were damaged on the way: try again.";
    default:
      return "";
  }
}

std::string AdviceByCode(const absl::Status& status, std::string_view time_flag) {
  if (status.GetPayload(kStorageFailure) || IsLocalFileError(status)) return "";
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return WaitAdvice(status, "Is the gateway running there? See --server and the --tls flags.");
    case absl::StatusCode::kDeadlineExceeded:
      return absl::StrCat("Give it more time with ", std::string(time_flag), ".");
    case absl::StatusCode::kResourceExhausted:
      return WaitAdvice(status, "Try again later.");
    case absl::StatusCode::kUnimplemented:
      return "This gateway is too old for that.";
    default:
      return "";
  }
}

}  // namespace

const char kExitCodesHelp[] =
    R"(Exit codes:
  0    done
  1    the awaited job FAILED, was CANCELLED or is LOST (wait, watch --until, create --wait)
  2    wrong usage or an invalid argument
  3    not found
  4    the job is not in the right state, or changed meanwhile (etag)
  5    a quota, rate or credit limit
  6    the gateway or Segmind cannot be reached, or the time ran out
  7    not allowed, or not authenticated
  8    an internal error, of the gateway or of Segmind
  9    a file or disk of this machine cannot be read or written
  130  Ctrl-C)";

ExitCode ExitCodeOf(const absl::Status& status) {
  if (IsLocalFileError(status)) return kLocalFile;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kSuccess;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return kUsage;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return kPrecondition;
    case absl::StatusCode::kResourceExhausted:
      return kQuota;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return kUnavailable;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kPermission;
    default:
      return kInternal;
  }
}

void PrintError(const absl::Status& status, std::ostream& err, std::string_view time_flag) {
  const Error error = ErrorOf(status);
  std::string message = error.message;
  // What follows field by field is not said twice.
  std::vector<std::string> lines;
  for (const auto& [field, description] : error.violations) {
    lines.push_back(absl::StrCat(FlagOf(field), ": ", InWordsFor(field, description)));
    if (const size_t at = message.find(description); at != message.npos && !description.empty())
      message = message.substr(0, std::min(at, message.find(field)));
  }
  for (const auto& [subject, description] : error.quota) {
    if (!absl::StrContains(message, description))
      lines.push_back(absl::StrCat(subject, ": ", description));
  }
  if (ErrorReasonOf(status) != pb::ErrorReason::UPSTREAM_REJECTED)
    message = InWordsOfFlags(message);
  message = Printable(message);
  while (!message.empty() && absl::StrContains(" :;.,", message.back())) message.pop_back();
  if (message.empty())
    message = lines.empty() ? absl::StatusCodeToString(status.code()) : "this cannot be done";
  err << "finetune: " << message;
  // For a local file a code would say nothing.
  if (!error.local) {
    err << " ("
        << Printable(error.reason.empty() ? absl::StatusCodeToString(status.code()) : error.reason)
        << ")";
  }
  err << ".\n";
  for (const std::string& line : lines) err << "  " << Printable(line) << "\n";
  std::string advice(status.GetPayload(kAdvice).value_or(absl::Cord()));
  if (advice.empty()) advice = AdviceByReason(status);
  if (advice.empty()) advice = AdviceByCode(status, time_flag);
  if (!advice.empty()) err << Printable(advice) << "\n";
  err.flush();
}

}  // namespace finetune::cli
