#include "server/base/line_quota.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(LineQuotaTest, LeavesOutWhatIsMoreThanAFewASecondAndTellsHowManyTheyWere) {
  LineQuota quota;
  const absl::Time begin = absl::UnixEpoch();
  for (int i = 0; i < LineQuota::kMost; ++i) EXPECT_EQ(quota.Take("a", begin), 0);
  for (int i = 0; i < 500; ++i)
    EXPECT_EQ(quota.Take("a", begin + absl::Milliseconds(999)), std::nullopt);
  EXPECT_EQ(quota.Take("a", begin + absl::Seconds(1)), 500);
  EXPECT_EQ(quota.Take("a", begin + absl::Seconds(1)), 0) << "told once";
}

TEST(LineQuotaTest, OneKindTakesNothingFromAnother) {
  LineQuota quota;
  for (int i = 0; i < 500; ++i) quota.Take("a", absl::UnixEpoch());
  EXPECT_EQ(quota.Take("b", absl::UnixEpoch()), 0);
}

}  // namespace
}  // namespace finetune
