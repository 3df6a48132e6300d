#include "server/jobs/record/job_metrics.h"

#include <algorithm>

#include "server/base/time_proto.h"
#include "server/jobs/record/merge.h"

namespace finetune {
namespace {

// Segmind has five models. Names that an upstream makes up must not fill the memory.
constexpr size_t kMostModels = 20;
constexpr size_t kMostCallers = 100;

// Whether the job was made through this gateway.
bool IsOurs(const FineTuneVersion& job) { return !job.request_id.empty(); }

bool IsBeforeTraining(pb::FineTune::State state) {
  return state == pb::FineTune::SUBMIT_UNKNOWN || state == pb::FineTune::QUEUED ||
         state == pb::FineTune::PREPARING;
}

// Whether two versions of a job are the same in everything that is counted.
bool CountTheSame(const FineTuneVersion& a, const FineTuneVersion& b) {
  return a.state == b.state && a.active() == b.active() && a.base_model == b.base_model &&
         a.creator == b.creator && IsOurs(a) == IsOurs(b);
}

}  // namespace

JobMetrics::JobMetrics(Clock& clock, Metrics& metrics)
    : clock_(clock),
      models_(kMostModels,
              [&metrics](const std::string& label) {
                return Model{.series = ModelSeries(metrics, label), .since = {}};
              }),
      callers_(kMostCallers,
               [&metrics](const std::string& label) { return CallerSeries(metrics, label); }) {}

void JobMetrics::Load(const CatalogView& view) {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  for (size_t i = 0; i < view.size(); ++i) {
    const FineTuneVersion& job = *view.at(i);
    Add(job, 1);
    if (!job.active()) continue;
    Going going = Restored(job, now);
    going.model->since[going.state].insert(going.since);
    going_.emplace(job.id, going);
  }
}

void JobMetrics::KnowCallers(const std::vector<std::string>& names) {
  MutexLock lock(mu_);
  for (const std::string& name : names) callers_.Of(name);
}

void JobMetrics::UpdateAges() {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  models_.ForEach([&](Model& model) {
    for (int i = 0; i < pb::FineTune::State_ARRAYSIZE; ++i) {
      const auto state = static_cast<pb::FineTune::State>(i);
      prometheus::Gauge* const gauge = model.series.oldest[state];
      if (gauge == nullptr) continue;
      const auto& since = model.since[state];
      gauge->Set(since.empty() ? 0 : absl::ToDoubleSeconds(now - *since.begin()));
    }
  });
}

void JobMetrics::OnCommitted(absl::Span<const ChangePtr> changes) {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  for (const ChangePtr& change : changes) Count(*change, now);
}

void JobMetrics::Count(const VersionChange& change, absl::Time now) {
  const FineTuneVersion* const before = change.before().get();
  const FineTuneVersion* const after = change.forgotten() ? nullptr : change.after().get();
  if (before == nullptr && after == nullptr) return;
  if (before != nullptr && after != nullptr && CountTheSame(*before, *after)) return;
  if (before != nullptr) Add(*before, -1);
  if (after != nullptr) {
    Add(*after, 1);
    if (IsOurs(*after) && (before == nullptr || !IsOurs(*before))) {
      ModelOf(*after).series.created->Increment();
      CallerOf(*after).created->Increment();
    }
    // A job that had already ended when it was first seen may have ended long ago.
    const bool seen = before == nullptr ? IsOurs(*after) : before->state != after->state;
    if (seen && IsTerminal(after->state)) CountEnd(*after);
  }
  Follow(before, after, now);
}

void JobMetrics::CountEnd(const FineTuneVersion& job) {
  const ModelSeries& model = ModelOf(job).series;
  if (prometheus::Counter* const ended = model.ended[job.state]) ended->Increment();
  if (prometheus::Counter* const ended = CallerOf(job).ended[job.state]) ended->Increment();
  if (job.state == pb::FineTune::FAILED)
    model.FailedFor(ToRecord(job).fine_tune().failure().reason()).Increment();
}

void JobMetrics::Add(const FineTuneVersion& job, int by) {
  ModelOf(job).series.jobs[job.state]->Increment(by);
  if (job.active()) CallerOf(job).active->Increment(by);
}

void JobMetrics::Follow(const FineTuneVersion* before, const FineTuneVersion* after,
                        absl::Time now) {
  const std::string& id = after != nullptr ? after->id : before->id;
  const auto found = going_.find(id);
  Going going;
  if (found != going_.end()) {
    going = found->second;
    auto& since = going.model->since[going.state];
    since.erase(since.find(going.since));
  }
  if (after != nullptr) ObserveMilestones(before, *after, now, going);
  const bool goes_on = after != nullptr && after->active();
  if (found != going_.end() && after != nullptr && after->state != going.state &&
      going.seen_to_begin) {
    if (prometheus::Histogram* const lasted = going.model->series.lasted[going.state])
      lasted->Observe(absl::ToDoubleSeconds(now - going.since));
  }
  if (!goes_on) {
    if (found != going_.end()) going_.erase(found);
    return;
  }
  going.model = &ModelOf(*after);
  if (found == going_.end() || after->state != going.state) {
    going.state = after->state;
    going.since = now;
    going.seen_to_begin = before == nullptr ? IsOurs(*after) : before->state != after->state;
  }
  going.model->since[going.state].insert(going.since);
  going_[id] = going;
}

void JobMetrics::ObserveMilestones(const FineTuneVersion* before, const FineTuneVersion& after,
                                   absl::Time now, Going& going) {
  if (before == nullptr || before->state == after.state) return;
  const ModelSeries& series = ModelOf(after).series;
  if (after.state == pb::FineTune::TRAINING && !going.training_known &&
      IsBeforeTraining(before->state)) {
    going.training_known = true;
    going.training_since = now;
    if (IsOurs(after)) {
      const absl::Duration waited = now - clock_.FromWall(after.create_time);
      series.waited->Observe(std::max(0.0, absl::ToDoubleSeconds(waited)));
    }
  }
  if (HasWeights(after.state) && going.training_known) {
    series.trained->Observe(absl::ToDoubleSeconds(now - going.training_since));
    going.training_known = false;
  }
}

// Since when the job is in its state, by its history: another process saw it begin.
JobMetrics::Going JobMetrics::Restored(const FineTuneVersion& job, absl::Time now) {
  const pb::FineTune fine_tune = ToRecord(job).fine_tune();
  const auto steady = [&](const google::protobuf::Timestamp& time) {
    return std::min(now, clock_.FromWall(FromProto(time)));
  };
  Going going{.state = job.state, .model = &ModelOf(job), .since = now};
  const auto& transitions = fine_tune.transitions();
  int i = transitions.size();
  for (; i > 0 && transitions[i - 1].state() == job.state; --i)
    going.since = steady(transitions[i - 1].time());
  going.seen_to_begin = i < transitions.size() && (i > 0 || IsOurs(job));
  going.training_known = fine_tune.has_training_start_time() && !HasWeights(job.state);
  if (going.training_known) going.training_since = steady(fine_tune.training_start_time());
  return going;
}

JobMetrics::Model& JobMetrics::ModelOf(const FineTuneVersion& job) {
  return models_.Of(job.base_model.empty() ? std::string_view("unknown")
                                           : std::string_view(job.base_model));
}

CallerSeries& JobMetrics::CallerOf(const FineTuneVersion& job) {
  if (!IsOurs(job)) return callers_.Of(kElsewhere);
  return callers_.Of(job.creator.empty() ? std::string_view(kUnnamed)
                                         : std::string_view(job.creator));
}

}  // namespace finetune
