#include "server/http/curl_status.h"

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace finetune {
namespace {

absl::StatusCode CodeOf(CURLcode code, absl::Duration left = absl::Minutes(1)) {
  return StatusOfCurl(code, absl::Now() + left).code();
}

TEST(CurlStatus, TellsWhatMayBeTriedAgainFromWhatMayNot) {
  EXPECT_EQ(CodeOf(CURLE_COULDNT_CONNECT), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_COULDNT_RESOLVE_HOST), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_PEER_FAILED_VERIFICATION), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_BAD_CONTENT_ENCODING), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_PARTIAL_FILE), absl::StatusCode::kDataLoss);
  EXPECT_EQ(CodeOf(CURLE_URL_MALFORMAT), absl::StatusCode::kInvalidArgument);
  // Of an answer in HTTP/0.9 or HTTP/3.0, or in none.
  EXPECT_EQ(CodeOf(CURLE_UNSUPPORTED_PROTOCOL), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_OUT_OF_MEMORY), absl::StatusCode::kInternal);
}

TEST(CurlStatus, TellsTheTimeToConnectFromTheDeadline) {
  EXPECT_EQ(CodeOf(CURLE_OPERATION_TIMEDOUT), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOf(CURLE_OPERATION_TIMEDOUT, absl::ZeroDuration()),
            absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace finetune
