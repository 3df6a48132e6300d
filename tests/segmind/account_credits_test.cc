#include "server/segmind/account_credits.h"

#include <gtest/gtest.h>

#include <cmath>

namespace finetune {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

class AccountCreditsTest : public ::testing::Test {
 protected:
  std::optional<int64_t> MicrosAt(absl::Time now) const {
    const auto told = credits_.At(now);
    return told ? std::optional(told->micros) : std::nullopt;
  }
  double Shown(const std::string& name) {
    for (const auto& family : metrics_.registry()->Collect())
      if (family.name == name) return family.metric.at(0).gauge.value;
    return -1;
  }

  Metrics metrics_;
  AccountCredits credits_{absl::Hours(1), metrics_};
};

TEST_F(AccountCreditsTest, AreUnknownUntilTheyAreToldAndOnceThatIsLongAgo) {
  EXPECT_EQ(MicrosAt(kStart), std::nullopt);
  credits_.UpdateMetrics(kStart);
  EXPECT_TRUE(std::isnan(Shown("finetune_gateway_credits")));
  EXPECT_TRUE(std::isnan(Shown("finetune_gateway_credits_age_seconds")));

  credits_.Note(12'500'000, kStart);
  EXPECT_EQ(MicrosAt(kStart + absl::Hours(1)), 12'500'000);
  credits_.UpdateMetrics(kStart + absl::Minutes(1));
  EXPECT_EQ(Shown("finetune_gateway_credits"), 12.5);
  EXPECT_EQ(Shown("finetune_gateway_credits_age_seconds"), 60);

  EXPECT_EQ(MicrosAt(kStart + absl::Hours(2)), std::nullopt);
  credits_.UpdateMetrics(kStart + absl::Hours(2));
  EXPECT_TRUE(std::isnan(Shown("finetune_gateway_credits")));
  EXPECT_EQ(Shown("finetune_gateway_credits_age_seconds"), 7200);
}

TEST_F(AccountCreditsTest, AnOlderWordDoesNotCount) {
  credits_.Note(5, kStart);
  credits_.Note(9, kStart - absl::Seconds(1));
  EXPECT_EQ(MicrosAt(kStart), 5);
  credits_.Note(0, kStart + absl::Seconds(1));
  EXPECT_EQ(MicrosAt(kStart + absl::Seconds(1)), 0);
}

TEST_F(AccountCreditsTest, AHeaderThatIsNoAmountSaysNothing) {
  credits_.Note(7'000'000, kStart);
  for (const char* text : {"", " ", "many", "-1", "nan", "inf", "1e300", "12 credits", "0x"})
    credits_.NoteHeader(text, kStart + absl::Seconds(1));
  EXPECT_EQ(MicrosAt(kStart), 7'000'000);
  credits_.NoteHeader(" 3.25 ", kStart + absl::Seconds(1));
  EXPECT_EQ(MicrosAt(kStart), 3'250'000);
}

}  // namespace
}  // namespace finetune
