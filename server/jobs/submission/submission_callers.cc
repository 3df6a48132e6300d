#include "server/jobs/submission/submission_callers.h"

#include <algorithm>
#include <utility>

namespace finetune {

void SubmissionCallers::Add(absl::Time deadline, Done done) {
  const absl::Duration left = deadline - clock_.Now();
  const absl::Duration margin =
      left == absl::InfiniteDuration()
          ? absl::ZeroDuration()
          : std::min(std::max(absl::Milliseconds(100), left / 20), left / 4);
  const uint64_t id = ++last_;
  Caller& caller = callers_[id];
  caller.done = std::move(done);
  caller.answer_by = deadline - margin;
  caller.start_by = deadline - 2 * margin;
  if (deadline == absl::InfiniteFuture()) return;
  caller.timer = clock_.RunAt(caller.answer_by, [alarm = alarm_, id] { alarm(id); });
}

void SubmissionCallers::Hurry(absl::Time answer_by) {
  for (auto& [id, caller] : callers_) {
    if (caller.answer_by <= answer_by) continue;
    clock_.Cancel(caller.timer);
    caller.answer_by = caller.start_by = answer_by;
    caller.timer = clock_.RunAt(answer_by, [alarm = alarm_, id = id] { alarm(id); });
  }
}

absl::Time SubmissionCallers::StartBy() const {
  absl::Time start_by = absl::InfinitePast();
  for (const auto& [id, caller] : callers_) start_by = std::max(start_by, caller.start_by);
  return start_by;
}

void SubmissionCallers::Answer(uint64_t caller, absl::StatusOr<VersionPtr> result) {
  auto found = callers_.find(caller);
  if (found == callers_.end()) return;
  Caller answered = std::move(found->second);
  callers_.erase(found);
  clock_.Cancel(answered.timer);
  std::move(answered.done)(std::move(result));
}

void SubmissionCallers::AnswerAll(const absl::StatusOr<VersionPtr>& result) {
  while (!callers_.empty()) Answer(callers_.begin()->first, result);
}

}  // namespace finetune
