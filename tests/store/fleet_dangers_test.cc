#include "server/store/fleet_dangers.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "server/base/log.h"

namespace finetune {
namespace {

class FleetDangersTest : public testing::Test {
 protected:
  static std::string LogOf(const std::function<void()>& what) {
    FlushLog();
    testing::internal::CaptureStdout();
    what();
    FlushLog();
    return testing::internal::GetCapturedStdout();
  }
  std::string Skew(absl::Duration ahead, absl::Duration uncertainty = absl::ZeroDuration()) {
    return LogOf([&] { dangers_.NoteSkew(ahead, uncertainty); });
  }
  std::string Standbys(bool is_synchronous, int64_t standbys) {
    return LogOf([&] { dangers_.NoteStandbys(is_synchronous, standbys); });
  }

  FleetDangers dangers_;
};

TEST_F(FleetDangersTest, SaysOnceThatAClockIsWrongAndOnceThatItIsRight) {
  EXPECT_EQ(Skew(absl::Milliseconds(900)), "");
  // It may be the answer that was slow.
  EXPECT_EQ(Skew(absl::Seconds(2), absl::Seconds(2)), "");
  EXPECT_TRUE(absl::StrContains(Skew(absl::Seconds(-60)), "\"ahead_s\":-60"));
  EXPECT_EQ(Skew(absl::Seconds(-61)), "");
  EXPECT_TRUE(absl::StrContains(Skew(absl::ZeroDuration()), "again"));
  EXPECT_EQ(Skew(absl::ZeroDuration()), "");
}

TEST_F(FleetDangersTest, WarnsOfCommitsThatAFailoverMayLoseOnlyWhereOneIsExpected) {
  // A server without a standby has never promised more.
  EXPECT_EQ(Standbys(false, 0), "");
  EXPECT_TRUE(absl::StrContains(Standbys(false, 1), "a failover loses"));
  EXPECT_EQ(Standbys(false, 1), "");
  EXPECT_TRUE(absl::StrContains(Standbys(true, 1), "once a standby has them"));
  // The standby went, and with it what was promised.
  EXPECT_TRUE(absl::StrContains(Standbys(false, 0), "a failover loses"));
}

}  // namespace
}  // namespace finetune
