#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/store/ledger.h"

namespace finetune {

// What a report is about: a checked GetSpendingRequest.
struct SpendingSpec {
  Quarter start = 0;
  Quarter end = kForever;
  absl::TimeZone zone;
  pb::GetSpendingRequest::GroupBy group_by = pb::GetSpendingRequest::CALLER;
  std::string label_key;
  pb::GetSpendingRequest::Step step = pb::GetSpendingRequest::MONTH;
  std::optional<std::string> caller;  // Only its jobs.
};

// Sums the ledger's rows by day or month, and by group. Not thread-safe.
class SpendingReport {
 public:
  explicit SpendingReport(SpendingSpec spec) : spec_(std::move(spec)) {}

  void Add(const SpendingRows& rows);
  size_t size() const { return sums_.size(); }
  pb::GetSpendingResponse ToProto() const;

 private:
  struct Sum {
    std::map<JobOutcome, int64_t> jobs;
    int64_t unpriced = 0;
    std::map<std::string, int64_t> costs;
    std::map<std::string, int64_t> failed_costs;
  };

  std::string PeriodOf(Quarter quarter) const;
  std::string GroupOf(const SpendingKey& key) const;

  const SpendingSpec spec_;
  std::map<std::pair<std::string, std::string>, Sum> sums_;
};

}  // namespace finetune
