#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/commit_draft.h"
#include "server/store/store.h"

namespace finetune {

// What the record need not keep any longer: changes beyond what resuming watchers may ask for,
// submissions and spending of long ago, and lost jobs of others. Recorder's thread only; all that
// it is given outlives it.
class Forgetting {
 public:
  // `forget_lost_after`: see Recorder::Options.
  Forgetting(absl::Duration forget_lost_after, const Catalog& catalog, Clock& clock,
             Metrics& metrics);

  // The catalog was filled.
  void OnLoaded();

  // Now and then, some of those that are due. Nobody asked this gateway for them.
  void ForgetLostJobs(CommitDraft& draft);
  // What may go with a commit on this point.
  void Describe(const StorePoint& point, StoreBatch& batch) const;
  // That commit on that point is durable.
  void OnCommitted(const StorePoint& point, const StoreBatch& batch);

 private:
  const absl::Duration forget_lost_after_;
  const Catalog& catalog_;
  Clock& clock_;
  prometheus::Counter& forgotten_total_;

  uint64_t forgotten_through_ = 0;
  // What commits of this process forgot: `revision`, in this era. What a failover lost is another.
  StorePoint gone_;
  absl::Time forget_intents_at_ = absl::InfinitePast();
  absl::Time forget_jobs_at_ = absl::InfinitePast();
};

}  // namespace finetune
