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

}  // namespace
}  // namespace finetune
