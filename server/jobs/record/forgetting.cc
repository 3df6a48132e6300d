#include "server/jobs/record/forgetting.h"

#include <algorithm>

namespace finetune {
namespace {

constexpr absl::Duration kKeepIntents = absl::Hours(24 * 7);
constexpr absl::Duration kKeepRefusals = absl::Minutes(10);
constexpr absl::Duration kForgetIntentsEvery = absl::Minutes(10);
constexpr absl::Duration kForgetJobsEvery = absl::Minutes(1);
// The most jobs that one commit forgets.
constexpr size_t kMaxForgotten = 1'000;

}  // namespace

Forgetting::Forgetting(absl::Duration forget_lost_after, const Catalog& catalog, Clock& clock,
                       Metrics& metrics)
    : forget_lost_after_(forget_lost_after),
      catalog_(catalog),
      clock_(clock),
      forgotten_total_(metrics.Counter(
          "finetune_gateway_forgotten_fine_tunes_total",
          "Fine-tunes of others that were LOST for so long that they were forgotten.")) {}

void Forgetting::OnLoaded() {
  forgotten_through_ = catalog_.window_start();
  gone_ = {};
}

// Segmind does not know these jobs any more, and they were not made through this gateway, so nobody
// will ask it for them.
void Forgetting::ForgetLostJobs(CommitDraft& draft) {
  if (forget_lost_after_ == absl::InfiniteDuration() || clock_.Now() < forget_jobs_at_) return;
  forget_jobs_at_ = clock_.Now() + kForgetJobsEvery;
  const absl::Time before = draft.now() - forget_lost_after_;
  const ViewPtr view = catalog_.view();
  size_t forgotten = 0;
  for (size_t i = 0; i < view->size() && forgotten < kMaxForgotten; ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (version.state != pb::FineTune::LOST || !version.creator.empty() ||
        version.update_time > before) {
      continue;
    }
    // Another mutation of the same commit may have found the job again.
    const auto record = draft.Find(version.id);
    if (!record || record->fine_tune().state() != pb::FineTune::LOST) continue;
    draft.Forget(version.id);
    ++forgotten;
  }
  (void)draft.EndMutation(absl::OkStatus());
  forgotten_total_.Increment(static_cast<double>(forgotten));
}

void Forgetting::Describe(const StorePoint& point, StoreBatch& batch) const {
  const uint64_t revision = point.revision + batch.changes.size();
  const size_t kept = catalog_.options().window_changes;
  const uint64_t through = std::max(catalog_.window_start(), revision > kept ? revision - kept : 0);
  if (through > forgotten_through_) {
    batch.forget_changes_through = through;
    if (gone_.era == point.era) batch.forget_changes_after = gone_.revision;
  }
  if (clock_.Now() < forget_intents_at_) return;
  const absl::Time now = clock_.WallNow();
  batch.forget_intents_before = now - kKeepIntents;
  batch.forget_refusals_before = now - kKeepRefusals;
  batch.forget_spending_before = now - kKeepSpending;
}

void Forgetting::OnCommitted(const StorePoint& point, const StoreBatch& batch) {
  forgotten_through_ = std::max(forgotten_through_, batch.forget_changes_through);
  if (batch.forget_changes_through > 0)
    gone_ = {.era = point.era, .revision = batch.forget_changes_through};
  if (batch.forget_intents_before != absl::InfinitePast())
    forget_intents_at_ = clock_.Now() + kForgetIntentsEvery;
}

}  // namespace finetune
