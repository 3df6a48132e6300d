#include "server/jobs/record/job_series.h"

namespace finetune {
namespace {

// In seconds, for trainings: from a quarter of a minute to a day.
const prometheus::Histogram::BucketBoundaries kJobBuckets = {
    15,   30,   60,   120,  300,   600,   900,   1200,  1800,
    2700, 3600, 5400, 7200, 10800, 14400, 21600, 43200, 86400};

template <typename Do>
void ForEachState(Do act) {
  for (int i = 0; i < pb::FineTune::State_ARRAYSIZE; ++i) {
    const auto state = static_cast<pb::FineTune::State>(i);
    if (pb::FineTune::State_IsValid(i)) act(state, pb::FineTune::State_Name(state));
  }
}

}  // namespace

ModelSeries::ModelSeries(Metrics& metrics, const std::string& base_model) {
  const Metrics::Labels of_model = {{"base_model", base_model}};
  const auto with = [&](const char* label, const std::string& value) {
    return Metrics::Labels{{"base_model", base_model}, {label, value}};
  };
  created = &metrics.Counter("finetune_gateway_jobs_created_total",
                             "Jobs made through this gateway, by base model.", of_model);
  waited = &metrics.Histogram("finetune_gateway_job_waiting_seconds",
                              "From a submission through this gateway to its training.",
                              kJobBuckets, of_model);
  trained =
      &metrics.Histogram("finetune_gateway_job_training_seconds",
                         "From the beginning of a training to its weights.", kJobBuckets, of_model);
  ForEachState([&](pb::FineTune::State state, const std::string& name) {
    const Metrics::Labels labels = with("state", name);
    jobs[state] = &metrics.Gauge("finetune_gateway_jobs", "Jobs in the view, by state.", labels);
    if (IsTerminal(state)) {
      ended[state] =
          &metrics.Counter("finetune_gateway_jobs_ended_total",
                           "Jobs that were seen to end, by the state that they ended in.", labels);
    } else {
      oldest[state] = &metrics.Gauge("finetune_gateway_job_oldest_seconds",
                                     "How long the job that has been longest in a state has been "
                                     "in it; 0 if there is none.",
                                     labels);
      lasted[state] =
          &metrics.Histogram("finetune_gateway_job_state_seconds",
                             "How long jobs were in a state that they left.", kJobBuckets, labels);
    }
  });
  for (int i = 0; i < pb::Failure::Reason_ARRAYSIZE; ++i) {
    if (!pb::Failure::Reason_IsValid(i)) continue;
    failed[i] = &metrics.Counter("finetune_gateway_jobs_failed_total",
                                 "Jobs that were seen to fail, by reason.",
                                 with("reason", pb::Failure::Reason_Name(i)));
  }
}

CallerSeries::CallerSeries(Metrics& metrics, const std::string& caller) {
  active = &metrics.Gauge("finetune_gateway_caller_active_jobs",
                          "Jobs that go on, by who made them.", {{"caller", caller}});
  created = &metrics.Counter("finetune_gateway_caller_jobs_created_total",
                             "Jobs made through this gateway, by caller.", {{"caller", caller}});
  ForEachState([&](pb::FineTune::State state, const std::string& name) {
    if (!IsTerminal(state)) return;
    ended[state] = &metrics.Counter("finetune_gateway_caller_jobs_ended_total",
                                    "Jobs that were seen to end, by who made them.",
                                    {{"caller", caller}, {"state", name}});
  });
}

}  // namespace finetune
