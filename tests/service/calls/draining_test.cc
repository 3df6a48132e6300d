#include "server/service/calls/draining.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(Draining, SendsClientsElsewhereAtOnce) {
  const absl::Status status = Draining();
  // UNAVAILABLE is what clients repeat by themselves.
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::SERVER_DRAINING);
  ASSERT_TRUE(RetryDelayOf(status));
  EXPECT_LE(*RetryDelayOf(status), absl::Seconds(1));
}

}  // namespace
}  // namespace finetune
