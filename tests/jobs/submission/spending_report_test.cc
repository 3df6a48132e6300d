#include "server/jobs/submission/spending_report.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

absl::Time At(const char* text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

SpendingRows Rows() {
  const Quarter late = QuarterOf(At("2026-10-31T23:30:00Z"));
  SpendingRows rows;
  rows[{late, "alice", "art", "FLUX", "p=1\n", "credits", JobOutcome::kAvailable}] = {2, 3'000'000};
  rows[{late, "alice", "art", "QWEN", "p=2\n", "credits", JobOutcome::kFailed}] = {1, 500'000};
  rows[{late, "bob", "", "FLUX", "", "", JobOutcome::kOpen}] = {4, 0};
  rows[{late + 4, "alice", "art", "FLUX", "p=1\n", "USD", JobOutcome::kLost}] = {1, 7};
  return rows;
}
pb::GetSpendingResponse Report(SpendingSpec spec) {
  SpendingReport report(std::move(spec));
  report.Add(Rows());
  return report.ToProto();
}

TEST(SpendingReport, SumsByMonthAndCaller) {
  const auto report = Report({.zone = absl::UTCTimeZone()});
  ASSERT_EQ(report.rows_size(), 3);
  const pb::SpendingRow& alice = report.rows(0);
  EXPECT_EQ(alice.period(), "2026-10");
  EXPECT_EQ(alice.group(), "alice");
  EXPECT_EQ(alice.jobs(), 3);
  EXPECT_EQ(alice.available_jobs(), 2);
  EXPECT_EQ(alice.failed_jobs(), 1);
  ASSERT_EQ(alice.costs_size(), 1);
  EXPECT_EQ(alice.costs(0).micros(), 3'500'000);
  ASSERT_EQ(alice.failed_costs_size(), 1);
  EXPECT_EQ(alice.failed_costs(0).micros(), 500'000);
  EXPECT_EQ(report.rows(1).group(), "bob");
  EXPECT_EQ(report.rows(1).unpriced_jobs(), 4);
  EXPECT_EQ(report.rows(1).open_jobs(), 4);
  EXPECT_EQ(report.rows(2).period(), "2026-11");
  EXPECT_EQ(report.rows(2).costs(0).unit(), "USD");
  EXPECT_EQ(report.rows(2).lost_jobs(), 1);
}

TEST(SpendingReport, FollowsTheZoneAndTheGroup) {
  absl::TimeZone berlin;
  ASSERT_TRUE(absl::LoadTimeZone("Europe/Berlin", &berlin));
  auto report = Report({.zone = berlin,
                        .group_by = pb::GetSpendingRequest::TEAM,
                        .step = pb::GetSpendingRequest::DAY});
  ASSERT_EQ(report.rows_size(), 2);
  EXPECT_EQ(report.rows(0).period(), "2026-11-01");
  EXPECT_EQ(report.rows(0).group(), "");
  EXPECT_EQ(report.rows(1).group(), "art");
  EXPECT_EQ(report.rows(1).costs_size(), 2);
  report = Report({.zone = berlin, .group_by = pb::GetSpendingRequest::MODEL});
  EXPECT_EQ(report.rows(0).group(), "FLUX");
  EXPECT_EQ(report.rows(0).jobs(), 7);
  report = Report({.zone = berlin, .group_by = pb::GetSpendingRequest::LABEL, .label_key = "p"});
  ASSERT_EQ(report.rows_size(), 3);
  EXPECT_EQ(report.rows(1).group(), "1");
  EXPECT_EQ(report.rows(1).jobs(), 3);
}

}  // namespace
}  // namespace finetune
