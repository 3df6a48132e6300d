#pragma once

#include <memory>
#include <utility>

#include "server/jobs/record/recorder.h"
#include "server/store/fleet.h"

namespace finetune {

// The recorder for what only the leader may write: once its term is over nothing is written, and
// the fleet is told. Thread-safe; what it is given outlives it and what it records.
class LeaderRecorder {
 public:
  // For a process that has the record to itself.
  explicit LeaderRecorder(Recorder& recorder) : recorder_(recorder) {}
  LeaderRecorder(Recorder& recorder, Fleet& fleet, LeaderTerm term)
      : recorder_(recorder), fleet_(&fleet), term_(std::move(term)) {}

  // As Recorder::Record.
  void Record(Recorder::Mutation mutation, Recorder::Done done, const TraceContext& trace = {}) {
    if (fleet_ == nullptr) return recorder_.Record(std::move(mutation), std::move(done), trace);
    recorder_.Record(
        std::move(mutation),
        [fleet = fleet_, term = term_, done = std::move(done)](absl::Status status) mutable {
          if (absl::IsAborted(status)) fleet->OnFenced(term);
          std::move(done)(std::move(status));
        },
        trace, {.term = term_});
  }
  bool has_unsettled() const { return recorder_.has_unsettled(); }

 private:
  Recorder& recorder_;
  Fleet* const fleet_ = nullptr;
  const LeaderTerm term_;
};

}  // namespace finetune
