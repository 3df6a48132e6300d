#include "server/service/calls/grpc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/base/error_details.h"

namespace finetune {
namespace {

rpc::Status Wire(const grpc::Status& status) {
  rpc::Status wire;
  EXPECT_TRUE(wire.ParseFromString(status.error_details()));
  return wire;
}

template <typename Detail>
std::vector<Detail> Details(const grpc::Status& status) {
  std::vector<Detail> found;
  const rpc::Status wire = Wire(status);
  for (const auto& any : wire.details()) {
    if (auto detail = DetailIn<Detail>(any)) found.push_back(*std::move(detail));
  }
  return found;
}

TEST(GrpcStatus, CarriesCodeMessageAndDetails) {
  const absl::Status error =
      Error(absl::StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND, "no such job")
          .Resource("segmind.finetune.v1.FineTune", "fineTunes/x")
          .RetryAfter(absl::Milliseconds(1500));
  const grpc::Status status = ToGrpcStatus(error);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such job");
  EXPECT_EQ(Wire(status).code(), 5);
  EXPECT_EQ(Wire(status).message(), "no such job");
  ASSERT_EQ(Details<rpc::ErrorInfo>(status).size(), 1u);
  EXPECT_EQ(Details<rpc::ErrorInfo>(status)[0].reason(), "FINE_TUNE_NOT_FOUND");
  ASSERT_EQ(Details<rpc::RetryInfo>(status).size(), 1u);
  EXPECT_EQ(Details<rpc::RetryInfo>(status)[0].retry_delay().nanos(), 500'000'000);
  ASSERT_EQ(Details<rpc::ResourceInfo>(status).size(), 1u);
}

TEST(GrpcStatus, GivesEveryErrorAnErrorInfo) {
  for (absl::Status error : {absl::InternalError("x"), absl::CancelledError(""),
                             absl::DeadlineExceededError("late"), absl::UnimplementedError("n")}) {
    auto infos = Details<rpc::ErrorInfo>(ToGrpcStatus(error));
    ASSERT_EQ(infos.size(), 1u);
    EXPECT_EQ(infos[0].domain(), kErrorDomain);
    EXPECT_EQ(infos[0].reason(), absl::StatusCodeToString(error.code()));
  }
}

TEST(GrpcStatus, LeavesOtherPayloadsBehind) {
  absl::Status error = absl::InternalError("x");
  error.SetPayload("private", absl::Cord("secret"));
  EXPECT_EQ(Wire(ToGrpcStatus(error)).details_size(), 1);
}

TEST(GrpcStatus, StaysUnderFourKilobytesWhateverIsPutIn) {
  const std::string umlauts(2000, '\xfc');
  Error error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD, umlauts);
  for (int i = 0; i < 40; ++i) {
    std::move(error).Field(absl::StrCat("field", i), std::string(300, 'd'));
    std::move(error).Quota("subject", std::string(300, 'q'));
    std::move(error).Metadata(absl::StrCat("key", i), std::string(300, 'm'));
  }
  std::move(error).RetryAfter(absl::Seconds(1));
  const grpc::Status status = ToGrpcStatus(std::move(error));
  EXPECT_LT(status.error_details().size() + 3 * status.error_message().size(), 4096u);
  EXPECT_EQ(Details<rpc::ErrorInfo>(status).size(), 1u);
  EXPECT_EQ(Details<rpc::RetryInfo>(status).size(), 1u);
}

TEST(GrpcStatus, KeepsTheViolationsThatFit) {
  Error error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD, "bad");
  for (int i = 0; i < 20; ++i)
    std::move(error).Field(absl::StrCat("field", i), std::string(250, 'd'));
  auto bad = Details<rpc::BadRequest>(ToGrpcStatus(std::move(error)));
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_GT(bad[0].field_violations_size(), 5);
  EXPECT_EQ(bad[0].field_violations(0).field(), "field0");
}

}  // namespace
}  // namespace finetune
