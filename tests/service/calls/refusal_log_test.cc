#include "server/service/calls/refusal_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class RefusalLogTest : public ::testing::Test {
 protected:
  // How many of so many refusals have lines of their own.
  int64_t OwnLines(int64_t refusals, const std::string& caller,
                   pb::ErrorReason::Reason reason = pb::ErrorReason::CLIENT_QUOTA_EXCEEDED,
                   const std::string& machine = "") {
    int64_t own = 0;
    for (int64_t i = 0; i < refusals; ++i)
      own += log_->HasOwnLine({reason, caller, machine}) ? 1 : 0;
    return own;
  }

  ManualClock clock_;
  std::vector<std::string> counts_;
  int64_t refused_meanwhile_ = 0;
  std::optional<RefusalLog> log_{
      std::in_place, clock_, [this](const RefusalLog::Refused& refused, int64_t calls) {
        counts_.push_back(absl::StrCat(refused.caller, refused.machine, " ",
                                       pb::ErrorReason::Reason_Name(refused.reason), " ", calls));
        OwnLines(std::exchange(refused_meanwhile_, 0), refused.caller);
      }};
};

TEST_F(RefusalLogTest, AFewHaveLinesOfTheirOwn) {
  EXPECT_EQ(OwnLines(RefusalLog::kLinesEach, "mallory"), RefusalLog::kLinesEach);
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_THAT(counts_, IsEmpty());
}

TEST_F(RefusalLogTest, ManyAreCountedByCallerAndReason) {
  EXPECT_EQ(OwnLines(5'000, "mallory"), RefusalLog::kLinesEach);
  EXPECT_EQ(OwnLines(700, "mallory", pb::ErrorReason::OVERLOADED), RefusalLog::kLinesEach);
  EXPECT_EQ(OwnLines(3, "alice"), 3);
  EXPECT_THAT(counts_, IsEmpty());
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_THAT(counts_,
              UnorderedElementsAre("mallory CLIENT_QUOTA_EXCEEDED 4990", "mallory OVERLOADED 690"));
}

TEST_F(RefusalLogTest, WhoIsRefusedWhileCountsAreWrittenIsInTheNextOnes) {
  OwnLines(100, "mallory");
  refused_meanwhile_ = 30;
  clock_.Advance(RefusalLog::kPeriod);
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_THAT(counts_, UnorderedElementsAre("mallory CLIENT_QUOTA_EXCEEDED 90",
                                            "mallory CLIENT_QUOTA_EXCEEDED 20"));
}

TEST_F(RefusalLogTest, EachPeriodBeginsAnew) {
  OwnLines(100, "mallory");
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_EQ(OwnLines(100, "mallory"), RefusalLog::kLinesEach);
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_EQ(counts_.size(), 2u);
  EXPECT_EQ(clock_.timers(), 0u) << "without refusals nothing runs";
}

TEST_F(RefusalLogTest, ThoseWhomNobodyKnowsAreToldApartByTheirMachines) {
  constexpr auto kInvalid = pb::ErrorReason::CREDENTIALS_INVALID;
  EXPECT_EQ(OwnLines(1'000, "", kInvalid, "192.0.2.1"), RefusalLog::kLinesEach);
  EXPECT_EQ(OwnLines(2, "", kInvalid, "192.0.2.2"), 2) << "it is not hidden by the flood";
  clock_.Advance(RefusalLog::kPeriod);
  EXPECT_THAT(counts_, UnorderedElementsAre("192.0.2.1 CREDENTIALS_INVALID 990"));
}

TEST_F(RefusalLogTest, TheEndLosesNothing) {
  OwnLines(50, "mallory");
  log_.reset();
  EXPECT_THAT(counts_, UnorderedElementsAre("mallory CLIENT_QUOTA_EXCEEDED 40"));
  EXPECT_EQ(clock_.timers(), 0u);
}

}  // namespace
}  // namespace finetune
