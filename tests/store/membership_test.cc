#include "server/store/membership.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000);

TEST(Membership, AloneItAlwaysCounts) {
  Membership membership;
  EXPECT_EQ(membership.id(), "");
  EXPECT_TRUE(membership.IsMine(""));
  EXPECT_TRUE(membership.Holds("", kNow));
  EXPECT_FALSE(membership.is_lost());
}

TEST(Membership, CountsForAsLongAsItWasRenewedFor) {
  Membership membership;
  membership.Join("a", kNow + absl::Seconds(7));
  EXPECT_TRUE(membership.Holds("a", kNow));
  EXPECT_FALSE(membership.Holds("b", kNow));
  EXPECT_FALSE(membership.Holds("a", kNow + absl::Seconds(7)));
  membership.Renew("a", kNow + absl::Seconds(9));
  membership.Renew("a", kNow + absl::Seconds(8));
  membership.Renew("b", kNow + absl::Seconds(99));
  EXPECT_TRUE(membership.Holds("a", kNow + absl::Seconds(8.5)));
  EXPECT_FALSE(membership.Holds("a", kNow + absl::Seconds(9)));
}

TEST(Membership, WhatWasLostComesBackUnderAnotherNameOnly) {
  Membership membership;
  membership.Join("a", kNow + absl::Seconds(7));
  membership.Lose("other");
  EXPECT_FALSE(membership.is_lost());
  membership.Lose("a");
  membership.Renew("a", kNow + absl::Seconds(9));
  EXPECT_TRUE(membership.is_lost());
  EXPECT_FALSE(membership.Holds("a", kNow));
  membership.Join("b", kNow + absl::Seconds(9));
  EXPECT_FALSE(membership.is_lost());
  EXPECT_TRUE(membership.Holds("b", kNow));
  EXPECT_FALSE(membership.Holds("a", kNow));
  EXPECT_TRUE(membership.IsMine("a"));
  EXPECT_FALSE(membership.IsMine("")) << "of a record that was moved here";
}

TEST(Membership, LacksAWriterOnceThereWasNoneForAWhile) {
  Membership membership;
  EXPECT_FALSE(membership.LacksWriter(kNow));
  membership.SetWriter(false, kNow);
  EXPECT_FALSE(membership.LacksWriter(kNow + absl::Seconds(2)));
  membership.SetWriter(false, kNow + absl::Seconds(2));
  EXPECT_TRUE(membership.LacksWriter(kNow + absl::Seconds(4)));
  membership.SetWriter(true, kNow + absl::Seconds(5));
  EXPECT_FALSE(membership.LacksWriter(kNow + absl::Seconds(9)));
}

TEST(Membership, ForgetsNamesOfLongAgo) {
  Membership membership;
  for (int i = 0; i < 1'000; ++i) membership.Join(std::to_string(i), kNow);
  EXPECT_LE(membership.all().size(), 101u);
  EXPECT_TRUE(membership.IsMine("998"));
  EXPECT_FALSE(membership.IsMine("0"));
}

}  // namespace
}  // namespace finetune
