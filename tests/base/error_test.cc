#include "server/base/error.h"

#include <gtest/gtest.h>

#include "server/base/error_details.h"

namespace finetune {
namespace {

constexpr char kInfoType[] = "type.googleapis.com/google.rpc.ErrorInfo";

rpc::ErrorInfo InfoOf(const absl::Status& status) {
  rpc::ErrorInfo info;
  auto payload = status.GetPayload(kInfoType);
  EXPECT_TRUE(payload.has_value());
  if (payload) EXPECT_TRUE(info.ParseFromString(std::string(*payload)));
  return info;
}

TEST(Error, CarriesReasonDomainAndMetadata) {
  const absl::Status status =
      Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND, "none such")
          .Metadata("call", "details");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "none such");
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
  EXPECT_EQ(InfoOf(status).domain(), std::string(kErrorDomain));
  EXPECT_EQ(InfoOf(status).metadata().at("call"), "details");
}

TEST(Error, KeepsTheRetryDelayToTheNanosecond) {
  for (absl::Duration delay :
       {absl::ZeroDuration(), absl::Milliseconds(1500), absl::Nanoseconds(1), absl::Hours(3)}) {
    const absl::Status status =
        Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, "later")
            .RetryAfter(delay);
    EXPECT_EQ(RetryDelayOf(status), delay);
  }
}

TEST(Error, HasNoReasonAndNoDelayWhereNoneWasGiven) {
  EXPECT_EQ(ReasonOf(absl::InternalError("plain")), pb::ErrorReason::REASON_UNSPECIFIED);
  EXPECT_EQ(ReasonOf(absl::OkStatus()), pb::ErrorReason::REASON_UNSPECIFIED);
  EXPECT_EQ(RetryDelayOf(absl::InternalError("plain")), std::nullopt);
}

TEST(Error, StaysUnderTheFourKilobytesOfMetadata) {
  Error error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
              std::string(100'000, 'm'));
  for (int i = 0; i < 1000; ++i) std::move(error).Field(std::string(10, 'f'), std::string(20, 'd'));
  const absl::Status status = std::move(error).Metadata("k", std::string(100'000, 'v'));
  size_t bytes = status.message().size();
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& value) {
    bytes += type.size() + value.size();
  });
  EXPECT_LT(bytes, 4096);
}

TEST(ValidUtf8, KeepsWhatIsValid) {
  const std::string text = "plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80";
  EXPECT_EQ(ValidUtf8(text), text);
  EXPECT_EQ(ValidUtf8(""), "");
}

TEST(ValidUtf8, ReplacesWhatIsNot) {
  const std::string sign = "\xef\xbf\xbd";
  EXPECT_EQ(ValidUtf8("a\xff"
                      "b"),
            "a" + sign + "b");
  EXPECT_EQ(ValidUtf8("\xc0\xaf"), sign + sign);                        // Overlong.
  EXPECT_EQ(ValidUtf8("\xed\xa0\x80"), sign + sign + sign);             // A surrogate.
  EXPECT_EQ(ValidUtf8("\xf4\x90\x80\x80"), sign + sign + sign + sign);  // Beyond the last.
  EXPECT_EQ(ValidUtf8("end\xe2\x82"), "end" + sign + sign);             // Cut short.
}

TEST(ValidUtf8, CutsAtACharacter) {
  EXPECT_EQ(ValidUtf8("abcdef", 3), "abc");
  EXPECT_EQ(ValidUtf8("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(ValidUtf8("ab\xe2\x82\xac", 5), "ab\xe2\x82\xac");
  EXPECT_EQ(ValidUtf8("\xff", 2), "");
  EXPECT_EQ(ValidUtf8("abc", 0), "");
}

}  // namespace
}  // namespace finetune
