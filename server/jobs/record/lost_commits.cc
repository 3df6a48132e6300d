#include "server/jobs/record/lost_commits.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"

namespace finetune {
namespace {

// The record is known to lack submissions, but not which.
absl::Status RecordIsLost(const std::string& how) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE, how)
      .RetryAfter(absl::Minutes(1));
}

absl::Status MayBeThere() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               "nothing was sent to Segmind: the database's server was replaced or restarted, and "
               "until it is known what it may have lost, a submission that it does not know may "
               "have been made before; send the same request_id again")
      .RetryAfter(absl::Seconds(1));
}

}  // namespace

LostCommits::LostCommits(Catalog& catalog, Clock& clock, Metrics& metrics)
    : catalog_(catalog),
      clock_(clock),
      total_(metrics.Counter("finetune_gateway_lost_commits_total",
                             "Commits that this gateway has seen and that the database has lost, "
                             "as a failover may.")) {}

void LostCommits::Load(const std::string& unknown_loss) {
  unknown_loss_ = unknown_loss;
  if (!unknown_loss_.empty()) Log(LogLevel::kError, unknown_loss_);
}

void LostCommits::NoteCommitted(uint64_t seq, const std::vector<record::Intent>& intents) {
  for (const record::Intent& intent : intents) recent_.Note(seq, intent);
}

void LostCommits::NoteReloaded(const StoreState& state, const StorePoint& shown) {
  const uint64_t common = CommonSeq(state.lineage, shown, state.point.seq);
  if (common >= shown.seq) return;
  total_.Increment(static_cast<double>(shown.seq - common));
  std::vector<record::Intent> lost = recent_.After(common);
  Log(LogLevel::kError, "the database has lost commits that were acknowledged",
      {{"commits", shown.seq - common}, {"submissions", lost.size()}});
  to_bring_back_.insert(to_bring_back_.end(), std::make_move_iterator(lost.begin()),
                        std::make_move_iterator(lost.end()));
  recent_.GoBackTo(common);
  has_lost_ = true;
}

absl::Status LostCommits::WhyNotSubmit() {
  if (!unknown_loss_.empty()) return RecordIsLost(unknown_loss_);
  bool cautious = has_lost_;
  // What others await from this process comes with this commit, so it is only for others that it
  // waits.
  if (caution_ && caution_->awaits_others) {
    const absl::Time listed = catalog_.list_time();
    cautious = cautious || catalog_.numbers().SharedTime(listed).value_or(clock_.ToWall(listed)) <=
                               caution_->until;
  }
  if (cautious != std::exchange(was_cautious_, cautious))
    Log(LogLevel::kWarning, cautious
                                ? "new submissions wait: the database may lack some that were made"
                                : "new submissions need not wait any more");
  return cautious ? MayBeThere() : absl::OkStatus();
}

bool LostCommits::IsAwaited() const {
  return has_lost_ || !to_bring_back_.empty() || (caution_ && caution_->awaits_me);
}

void LostCommits::BringThemBack(CommitDraft& draft) {
  for (const record::Intent& intent : to_bring_back_) {
    (void)draft.EndMutation(BringBack(draft, intent, catalog_.numbers().NotBeforeNow()));
  }
}

void LostCommits::Describe(StoreBatch& batch) const {
  batch.has_lost = has_lost_;
  batch.ends_caution = caution_ && caution_->awaits_others && !was_cautious_;
}

void LostCommits::OnCommitted() {
  to_bring_back_.clear();
  has_lost_ = false;
  if (caution_) caution_->awaits_me = false;
}

}  // namespace finetune
