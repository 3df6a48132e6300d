#include "server/http/left_lookups.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(LeftLookups, AreTooManyUntilTheOldestHaveEnded) {
  LeftLookups left;
  absl::Time now = absl::UnixEpoch();
  for (int i = 0; i < 64; ++i) {
    EXPECT_FALSE(left.Full(now)) << i;
    left.Add(now);
    now += absl::Milliseconds(100);
  }
  EXPECT_TRUE(left.Full(now));
  now = absl::UnixEpoch() + absl::Minutes(1);
  EXPECT_FALSE(left.Full(now));
  left.Add(now);
  EXPECT_TRUE(left.Full(now));
  EXPECT_FALSE(left.Full(now + absl::Minutes(1)));
}

}  // namespace
}  // namespace finetune
