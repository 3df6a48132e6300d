#include "server/base/quota.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/error_details.h"

namespace finetune {
namespace {

template <typename Detail>
Detail DetailOf(const absl::Status& status, const char* type) {
  Detail detail;
  const auto payload = status.GetPayload(type);
  EXPECT_TRUE(payload.has_value()) << type;
  if (payload) EXPECT_TRUE(detail.ParseFromString(std::string(*payload)));
  return detail;
}

TEST(Quota, RefusesAsTheCallersOwnLimitWithAllThatAProgramNeeds) {
  const absl::Status status =
      QuotaExceeded("team/a", "active_jobs", "5 at once", absl::Seconds(30));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(status.message(), "your limit is reached: active_jobs 5 at once");
  EXPECT_EQ(RetryDelayOf(status), absl::Seconds(30));
  const auto info = DetailOf<rpc::ErrorInfo>(status, "type.googleapis.com/google.rpc.ErrorInfo");
  EXPECT_EQ(info.metadata().at("metric"), "active_jobs");
  EXPECT_EQ(info.metadata().at("limit"), "5 at once");
}

TEST(Quota, SaysWhoseLimitItIs) {
  const auto failure =
      DetailOf<rpc::QuotaFailure>(QuotaExceeded("team/a", "active_jobs", "5", absl::Seconds(1)),
                                  "type.googleapis.com/google.rpc.QuotaFailure");
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).subject(), "caller:team/a");
  EXPECT_EQ(failure.violations(0).description(), "active_jobs: at most 5");
}

TEST(Quota, OneThatIsReadySaysTheSameAndChangesWithWhatItSays) {
  ReadyQuotaRefusal ready;
  for (const char* limit : {"5", "5", "6", "5"}) {
    for (absl::Duration wait : {absl::Seconds(1), absl::Seconds(1), absl::Seconds(2)}) {
      const absl::Status refusal = ready.Get("team/a", "active_jobs", limit, wait);
      EXPECT_EQ(refusal.message(), absl::StrCat("your limit is reached: active_jobs ", limit));
      EXPECT_EQ(ReasonOf(refusal), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
      EXPECT_EQ(RetryDelayOf(refusal), wait);
    }
  }
}

}  // namespace
}  // namespace finetune
