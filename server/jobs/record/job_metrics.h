#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/bounded_labels.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/draft.h"
#include "server/jobs/record/job_series.h"

namespace finetune {

// Counts jobs for operators: how many are in which state, how long they wait and train, whose they
// are, and how they end. It sees all changes as they become visible, also those of other replicas,
// so each replica counts the whole record; jobs that ended before this process started are not
// counted again. Base models and callers are bounded, the rest is `other`. Thread-safe.
class JobMetrics : public CommitListener {
 public:
  // In place of a caller: for jobs made elsewhere, and for those of callers without a name.
  static constexpr char kElsewhere[] = "elsewhere";
  static constexpr char kUnnamed[] = "unnamed";

  JobMetrics(Clock& clock, Metrics& metrics);

  // Begins with what was loaded. Call it once, before the first commit.
  void Load(const CatalogView& view) ABSL_LOCKS_EXCLUDED(mu_);
  // Callers whose series are to be there before they do anything.
  void KnowCallers(const std::vector<std::string>& names) ABSL_LOCKS_EXCLUDED(mu_);
  // Updates the ages of jobs. Call it before the metrics are read.
  void UpdateAges() ABSL_LOCKS_EXCLUDED(mu_);

  void OnCommitted(absl::Span<const ChangePtr> changes) ABSL_LOCKS_EXCLUDED(mu_) override;

 private:
  // The series of a base model, and since when its jobs have been in their states.
  struct Model {
    ModelSeries series;
    ByState<absl::btree_multiset<absl::Time>> since;
  };
  // A job that goes on. Times are steady.
  struct Going {
    pb::FineTune::State state = pb::FineTune::STATE_UNSPECIFIED;
    Model* model = nullptr;
    absl::Time since;
    // It was seen to come into this state, so that how long it was in it will be known.
    bool seen_to_begin = false;
    bool training_known = false;  // And when it began, until there are weights.
    absl::Time training_since;
  };

  void Count(const VersionChange& change, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CountEnd(const FineTuneVersion& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Adds a job to the gauges, or takes it from them.
  void Add(const FineTuneVersion& job, int by) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `after` is null for a job that was forgotten.
  void Follow(const FineTuneVersion* before, const FineTuneVersion* after, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ObserveMilestones(const FineTuneVersion* before, const FineTuneVersion& after,
                         absl::Time now, Going& going) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Going Restored(const FineTuneVersion& job, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Model& ModelOf(const FineTuneVersion& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  CallerSeries& CallerOf(const FineTuneVersion& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Clock& clock_;

  Mutex mu_;
  BoundedLabels<Model> models_ ABSL_GUARDED_BY(mu_);
  BoundedLabels<CallerSeries> callers_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, Going> going_ ABSL_GUARDED_BY(mu_);  // By id.
};

}  // namespace finetune
