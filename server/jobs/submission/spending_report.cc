#include "server/jobs/submission/spending_report.h"

namespace finetune {
namespace {

void AddCosts(const std::map<std::string, int64_t>& costs,
              google::protobuf::RepeatedPtrField<pb::Cost>& to) {
  for (const auto& [unit, micros] : costs) {
    pb::Cost& cost = *to.Add();
    cost.set_unit(unit);
    cost.set_micros(micros);
  }
}

}  // namespace

std::string SpendingReport::PeriodOf(Quarter quarter) const {
  const bool days = spec_.step == pb::GetSpendingRequest::DAY;
  return absl::FormatTime(days ? "%Y-%m-%d" : "%Y-%m", StartOf(quarter), spec_.zone);
}

std::string SpendingReport::GroupOf(const SpendingKey& key) const {
  switch (spec_.group_by) {
    case pb::GetSpendingRequest::TEAM:
      return key.team;
    case pb::GetSpendingRequest::MODEL:
      return key.model;
    case pb::GetSpendingRequest::LABEL: {
      const auto labels = DecodeLabels(key.labels);
      const auto label = labels.find(spec_.label_key);
      return label == labels.end() ? "" : label->second;
    }
    default:
      return key.caller;
  }
}

void SpendingReport::Add(const SpendingRows& rows) {
  for (const auto& [key, count] : rows) {
    Sum& sum = sums_[{PeriodOf(key.quarter), GroupOf(key)}];
    sum.jobs[key.outcome] += count.jobs;
    if (key.unit.empty()) {
      sum.unpriced += count.jobs;
      continue;
    }
    sum.costs[key.unit] += count.micros;
    if (key.outcome == JobOutcome::kFailed) sum.failed_costs[key.unit] += count.micros;
  }
}

pb::GetSpendingResponse SpendingReport::ToProto() const {
  pb::GetSpendingResponse response;
  for (const auto& [key, sum] : sums_) {
    pb::SpendingRow& row = *response.add_rows();
    row.set_period(key.first);
    row.set_group(key.second);
    const auto jobs = [&of = sum.jobs](JobOutcome outcome) {
      const auto found = of.find(outcome);
      return found == of.end() ? 0 : found->second;
    };
    for (const auto& [outcome, count] : sum.jobs) row.set_jobs(row.jobs() + count);
    row.set_open_jobs(jobs(JobOutcome::kOpen) + jobs(JobOutcome::kDormant));
    row.set_available_jobs(jobs(JobOutcome::kAvailable));
    row.set_failed_jobs(jobs(JobOutcome::kFailed));
    row.set_cancelled_jobs(jobs(JobOutcome::kCancelled));
    row.set_lost_jobs(jobs(JobOutcome::kLost));
    row.set_unpriced_jobs(sum.unpriced);
    AddCosts(sum.costs, *row.mutable_costs());
    AddCosts(sum.failed_costs, *row.mutable_failed_costs());
  }
  return response;
}

}  // namespace finetune
