#include "server/jobs/submission/spending_summary.h"

#include "server/spending/period.h"

namespace finetune {
namespace {

constexpr absl::Duration kGoodFor = absl::Seconds(5);

}  // namespace

pb::GetSpendingResponse SpendingSummary::Get() {
  bool reads = false;
  pb::GetSpendingResponse known;
  {
    MutexLock lock(state_->mu);
    known = state_->known;
    const absl::Time now = clock_.Now();
    if (!state_->reading && now - state_->begun >= kGoodFor) {
      reads = state_->reading = true;
      state_->begun = now;
    }
  }
  if (reads) Read();
  return known;
}

void SpendingSummary::Read() {
  const absl::TimeZone zone = absl::UTCTimeZone();
  const absl::Time start = PeriodAt(PeriodKind::kMonth, zone, clock_.WallNow()).start;
  const SpendingSpec spec{
      .start = QuarterOf(start), .zone = zone, .group_by = pb::GetSpendingRequest::TEAM};
  auto report = std::make_shared<SpendingReport>(spec);
  reader_.Read(
      {.start = spec.start}, [report](const SpendingRows& rows) { report->Add(rows); },
      [report, state = state_](const absl::Status& status) {
        MutexLock lock(state->mu);
        state->reading = false;
        if (status.ok()) state->known = report->ToProto();
      });
}

}  // namespace finetune
