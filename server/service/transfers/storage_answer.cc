#include "server/service/transfers/storage_answer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/absl_view.h"
#include "server/base/error.h"
#include "server/service/calls/draining.h"

namespace finetune {
namespace {

// The `<Code>…</Code>` of a storage's XML error, if it is a word.
std::string StorageWord(std::string_view body) {
  constexpr std::string_view kOpen = "<Code>", kClose = "</Code>";
  const size_t from = body.find(kOpen);
  if (from == body.npos) return "";
  const size_t to = body.find(kClose, from);
  if (to == body.npos) return "";
  const std::string_view word = body.substr(from + kOpen.size(), to - from - kOpen.size());
  const bool plain = word.size() <= 64 && std::all_of(word.begin(), word.end(), [](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c));
                     });
  return plain ? std::string(word) : "";
}

absl::Status WithAnswer(Error error, int code, const std::string& word) {
  std::move(error).Metadata("http_status", absl::StrCat(code));
  if (!word.empty()) std::move(error).Metadata("storage_code", word);
  return std::move(error);
}

std::string Shown(int code, const std::string& word) {
  return absl::StrCat(code, word.empty() ? "" : " ", word);
}

bool IsPassing(int code, const std::string& word) {
  return code == 408 || code == 425 || code == 429 || code >= 500 || word == "RequestTimeout" ||
         word == "SlowDown" || word == "OperationAborted";
}

}  // namespace

absl::Status StorageUnavailable(absl::string_view message) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
               StdView(message))
      .RetryAfter(absl::Seconds(1));
}

absl::Status StorageError(int code, std::string_view body) {
  const std::string word = StorageWord(body);
  // A fresh URL may help after a refusal. What broke within storage may work again sooner.
  return WithAnswer(Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                          absl::StrCat("Segmind's storage answered ", Shown(code, word)))
                        .RetryAfter(code >= 500 ? absl::Seconds(1) : absl::Seconds(5)),
                    code, word);
}

absl::Status UploadError(int code, std::string_view body, int64_t size) {
  const std::string word = StorageWord(body);
  if (code == 413 || absl::StrContains(word, "TooLarge")) {
    const std::string what = absl::StrCat("Segmind's storage takes no file of ", size, " bytes (",
                                          Shown(code, word), ")");
    return WithAnswer(Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
                            absl::StrCat("spec.size_bytes: ", what))
                          .Field("spec.size_bytes", what),
                      code, word);
  }
  if (IsPassing(code, word)) return StorageError(code, body);
  const char* const why = code < 400 ? "leads an upload elsewhere, which is not followed"
                                     : "refuses the upload for which Segmind made a URL";
  return WithAnswer(
      Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
            absl::StrCat("Segmind's storage ", why, ": it answered ", Shown(code, word))),
      code, word);
}

bool MayNeedAnotherUrl(int code, std::string_view body) {
  if (code == 401 || code == 403 || code == 404 || code == 410) return true;
  const std::string word = StorageWord(body);
  return code == 400 && (absl::StrContains(word, "Expired") || absl::StrContains(word, "Token") ||
                         absl::StrContains(word, "Authorization"));
}

absl::Status StreamError(const absl::Status& status) {
  const std::string text =
      absl::StrCat("the transfer with Segmind's storage failed: ", status.message());
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kInvalidArgument:
      return Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED, text);
    case absl::StatusCode::kCancelled:
      return Draining();
    case absl::StatusCode::kInternal:
      return status;
    default:
      return StorageUnavailable(text);
  }
}

}  // namespace finetune
