#pragma once

#include <array>
#include <string>

#include "server/base/metrics.h"
#include "server/jobs/record/version.h"

namespace finetune {

// One T for each state of a job. A state that this version does not know counts as
// STATE_UNSPECIFIED. Not thread-safe.
template <typename T>
class ByState {
 public:
  T& operator[](pb::FineTune::State state) { return values_[IndexOf(state)]; }
  const T& operator[](pb::FineTune::State state) const { return values_[IndexOf(state)]; }

 private:
  static size_t IndexOf(pb::FineTune::State state) {
    return pb::FineTune::State_IsValid(state) ? static_cast<size_t>(state) : 0;
  }
  std::array<T, pb::FineTune::State_ARRAYSIZE> values_{};
};

// The series of the jobs of one base model, all there from the start. Thread-safe.
struct ModelSeries {
  ModelSeries(Metrics& metrics, const std::string& base_model);

  ByState<prometheus::Gauge*> jobs;
  prometheus::Counter* created;
  prometheus::Histogram* waited;
  prometheus::Histogram* trained;
  // Of states that a job goes on from; null for others.
  ByState<prometheus::Gauge*> oldest;
  ByState<prometheus::Histogram*> lasted;
  // Of states that a job ends in; null for others.
  ByState<prometheus::Counter*> ended;
  std::array<prometheus::Counter*, pb::Failure::Reason_ARRAYSIZE> failed{};

  prometheus::Counter& FailedFor(pb::Failure::Reason reason) const {
    return *failed[pb::Failure::Reason_IsValid(reason) ? reason : 0];
  }
};

// The series of the jobs of one caller, all there from the start. Thread-safe.
struct CallerSeries {
  CallerSeries(Metrics& metrics, const std::string& caller);

  prometheus::Gauge* active;
  prometheus::Counter* created;
  ByState<prometheus::Counter*> ended;
};

}  // namespace finetune
