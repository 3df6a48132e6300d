// Google's own google.rpc and the gateway's details of the same wire format are in one process
// here, as in programs that also call Google's APIs: the descriptors must not collide, and both
// must read what the gateway sends.
#include <client/google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include "client/cpp/status.h"
#include "server/base/error_details.h"

namespace finetune {
namespace {

TEST(GoogleDetails, AreReadFromTheSameStatusAsOurOwn) {
  rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(7);
  rpc::Status details;
  AddDetail(details, retry);
  const absl::Status status =
      ToStatus(grpc::Status(grpc::StatusCode::UNAVAILABLE, "later", details.SerializeAsString()));

  ASSERT_TRUE(DetailOf<google::rpc::RetryInfo>(status).has_value());
  EXPECT_EQ(DetailOf<google::rpc::RetryInfo>(status)->retry_delay().seconds(), 7);
  EXPECT_EQ(DetailOf<rpc::RetryInfo>(status)->retry_delay().seconds(), 7);
}

TEST(GoogleDetails, HaveTypeUrlsThatEveryLibraryKnows) {
  google::protobuf::Any any;
  any.PackFrom(google::rpc::ErrorInfo());
  EXPECT_EQ(any.type_url(), DetailUrl<rpc::ErrorInfo>());
}

}  // namespace
}  // namespace finetune
