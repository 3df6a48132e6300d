#include "server/service/transfers/storage_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/base/error_details.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Xml(const std::string& word) {
  return "<?xml version=\"1.0\"?><Error><Code>" + word +
         "</Code><Message>s3cret</Message><Url>https://b?X-Amz-Signature=s3cret</Url></Error>";
}
std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }
rpc::ErrorInfo InfoOf(const absl::Status& status) {
  rpc::ErrorInfo info;
  if (const auto payload = status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo"))
    info.ParseFromString(std::string(*payload));
  return info;
}

TEST(StorageAnswer, ShowsStoragesWordAndNothingElseOfTheBody) {
  const absl::Status status = StorageError(403, Xml("AccessDenied"));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_EQ(MessageOf(status), "Segmind's storage answered 403 AccessDenied");
  EXPECT_EQ(InfoOf(status).metadata().at("http_status"), "403");
  EXPECT_EQ(InfoOf(status).metadata().at("storage_code"), "AccessDenied");
  EXPECT_THAT(status.ToString(), Not(HasSubstr("s3cret")));
}

TEST(StorageAnswer, TakesNoTextForAWordThatIsNone) {
  for (const std::string& body :
       {std::string(), std::string("<html>s3cret</html>"), Xml("s3cret here"), Xml("<b>s3cret</b>"),
        Xml(std::string(65, 'x')), std::string("<Code>s3cret"), std::string("</Code><Code>")}) {
    const absl::Status status = StorageError(500, body);
    EXPECT_EQ(MessageOf(status), "Segmind's storage answered 500") << body;
    EXPECT_FALSE(InfoOf(status).metadata().contains("storage_code")) << body;
  }
}

TEST(StorageAnswer, AsksForPatienceBySoMuchAsMayHelp) {
  EXPECT_EQ(RetryDelayOf(StorageError(503, "")), absl::Seconds(1));
  EXPECT_EQ(RetryDelayOf(StorageError(404, "")), absl::Seconds(5));
}

TEST(UploadErrors, TellsWhetherTheSameMayDoLater) {
  for (const int code : {408, 425, 429, 500, 503})
    EXPECT_EQ(UploadError(code, "", 7).code(), absl::StatusCode::kUnavailable) << code;
  for (const char* word : {"RequestTimeout", "SlowDown", "OperationAborted"})
    EXPECT_EQ(UploadError(400, Xml(word), 7).code(), absl::StatusCode::kUnavailable) << word;
  for (const int code : {301, 307, 400, 403, 409, 412}) {
    const absl::Status status = UploadError(code, "", 7);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << code;
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_MALFORMED) << code;
  }
}

TEST(UploadErrors, BlamesTheFileForItsSizeAlone) {
  for (const absl::Status& status :
       {UploadError(413, "", 1234), UploadError(400, Xml("EntityTooLarge"), 1234)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD);
    EXPECT_THAT(MessageOf(status), HasSubstr("spec.size_bytes"));
    EXPECT_THAT(MessageOf(status), HasSubstr("1234 bytes"));
  }
}

TEST(UploadErrors, ANewUrlMayHelpAgainstWhatTheOldOneLacks) {
  for (const int code : {401, 403, 404, 410}) EXPECT_TRUE(MayNeedAnotherUrl(code, "")) << code;
  for (const char* word : {"ExpiredToken", "InvalidToken", "AuthorizationQueryParametersError"})
    EXPECT_TRUE(MayNeedAnotherUrl(400, Xml(word))) << word;
  for (const int code : {200, 307, 400, 408, 413, 500}) EXPECT_FALSE(MayNeedAnotherUrl(code, ""));
  EXPECT_FALSE(MayNeedAnotherUrl(400, Xml("EntityTooLarge")));
  EXPECT_FALSE(MayNeedAnotherUrl(500, Xml("ExpiredToken")));
}

TEST(StreamErrors, AreTypedByWhoseFaultItIs) {
  EXPECT_EQ(ReasonOf(StreamError(absl::PermissionDeniedError("host"))),
            pb::ErrorReason::UPSTREAM_MALFORMED);
  EXPECT_EQ(ReasonOf(StreamError(absl::InvalidArgumentError("url"))),
            pb::ErrorReason::UPSTREAM_MALFORMED);
  EXPECT_EQ(ReasonOf(StreamError(absl::CancelledError("stop"))), pb::ErrorReason::SERVER_DRAINING);
  for (const absl::Status& passing :
       {absl::UnavailableError("reset"), absl::DeadlineExceededError("idle"),
        absl::DataLossError("cut")}) {
    const absl::Status status = StreamError(passing);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << passing;
    EXPECT_TRUE(RetryDelayOf(status)) << passing;
    EXPECT_THAT(MessageOf(status), HasSubstr(std::string(passing.message())));
  }
}

}  // namespace
}  // namespace finetune
