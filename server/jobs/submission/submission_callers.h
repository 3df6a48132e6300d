#pragma once

#include <functional>
#include <map>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/jobs/record/version.h"

namespace finetune {

// The callers that wait for one submission, each with a deadline of its own. Submitter's thread
// only; `clock` outlives it.
class SubmissionCallers {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&>;
  // Called on the clock's thread: a caller has to be answered now.
  using Alarm = std::function<void(uint64_t caller)>;

  SubmissionCallers(Clock& clock, Alarm alarm) : clock_(clock), alarm_(std::move(alarm)) {}

  // Adds a caller, which is answered shortly before `deadline` with whatever is known by then.
  void Add(absl::Time deadline, Done done);
  // From now on all are answered by this time at the latest, and nothing is sent for them after it.
  void Hurry(absl::Time answer_by);

  // Nothing is sent to Segmind for any of them after that: its answer would come too late.
  absl::Time StartBy() const;
  bool empty() const { return callers_.empty(); }
  bool Has(uint64_t caller) const { return callers_.contains(caller); }

  void Answer(uint64_t caller, absl::StatusOr<VersionPtr> result);
  void AnswerAll(const absl::StatusOr<VersionPtr>& result);

 private:
  struct Caller {
    Done done;
    absl::Time answer_by;
    absl::Time start_by;
    Clock::TimerId timer = Clock::kNoTimer;
  };

  Clock& clock_;
  const Alarm alarm_;
  std::map<uint64_t, Caller> callers_;
  uint64_t last_ = 0;
};

}  // namespace finetune
