#pragma once

#include <memory>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/jobs/submission/spending_reader.h"
#include "server/jobs/submission/spending_report.h"

namespace finetune {

// This month's spending by team, as it was some seconds ago: for readers that look often and must
// not wait for the record. Thread-safe. What it is made with outlives it.
class SpendingSummary {
 public:
  SpendingSummary(SpendingReader& reader, Clock& clock)
      : reader_(reader), clock_(clock), state_(std::make_shared<State>()) {}

  // What is known; nothing at first. Reads it anew, for later, if that was not done just now.
  pb::GetSpendingResponse Get();

 private:
  struct State {
    Mutex mu;
    pb::GetSpendingResponse known ABSL_GUARDED_BY(mu);
    bool reading ABSL_GUARDED_BY(mu) = false;
    absl::Time begun ABSL_GUARDED_BY(mu) = absl::InfinitePast();
  };

  void Read();

  SpendingReader& reader_;
  Clock& clock_;
  const std::shared_ptr<State> state_;  // Reads that are under way hold it, too.
};

}  // namespace finetune
