#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/base/backoff.h"
#include "server/jobs/submission/preparation.h"
#include "server/jobs/submission/submission_callers.h"
#include "server/jobs/submission/submission_parts.h"
#include "server/jobs/submission/submitter.h"

namespace finetune {

// One (caller, request_id) on its way to Segmind: from before the intent is recorded until its
// outcome is durable and known, which is what keeps a second POST from being made. All calls with
// it share one. Submitter's thread only; owned by the Submitter and by the callbacks under way.
class Submission : public std::enable_shared_from_this<Submission> {
 public:
  using Key = std::pair<std::string, std::string>;  // (caller, request_id).
  // Told whenever it may have come to its end: see is_over.
  using Moved = std::function<void()>;

  Submission(std::shared_ptr<SubmissionParts> parts, CreateCall call, std::string fingerprint,
             Moved moved);

  void Start() { Prepare(); }
  // One more caller, with the same parameters.
  void Add(absl::Time deadline, SubmissionCallers::Done done);
  // The record says something new of it, whoever brought it about.
  void OnIntent(const record::Intent& intent);
  // The record was loaded anew, and it is not known what happened in between.
  void OnReloaded();
  // The tracker found out what became of the job.
  void OnSettled(const std::string& fine_tune_id);

  // The gateway is stopping: what was not sent will not be, and all callers are answered by then
  // with what is known.
  void BeginDrain(absl::Time answer_by);
  // Answers all callers that still wait with `status`.
  void EndDrain(const absl::Status& status) { callers_.AnswerAll(status); }

  const Key& key() const { return key_; }
  const std::string& fingerprint() const { return fingerprint_; }
  // It need not be kept.
  bool is_over() const { return phase_ == Phase::kOver; }
  // Whether something is being done for it here, rather than awaited from the tracker.
  bool is_busy() const {
    return phase_ != Phase::kAwaiting && phase_ != Phase::kSettling && phase_ != Phase::kOver;
  }

 private:
  //                  nothing was sent: another try
  //                    ┌─────── kPausing ◀──────┐
  //                    ▼                        │
  //   kPreparing ──▶ kPosting ──────────────────┴──▶ kEnding ──▶ kOver
  //       │                                             │          ▲
  //       │ recorded before                    unknown  │          │ found, or known not
  //       ├───────────────────────────────▶ kSettling ◀─┘──────────┤ to be there
  //       │ another process has it            ▲ unknown            │
  //       └──▶ kAwaiting ─────────────────────┴────────────────────┘
  enum class Phase {
    kPreparing,  // The intent is being recorded; nothing was sent.
    kLooking,    // Its dataset and the like are being checked (CreateCall::look); nothing was sent.
    kPosting,    // The POST is out.
    kPausing,    // Nothing was sent: another try follows.
    kEnding,     // The outcome is known and being recorded.
    kAwaiting,   // Another process makes the POST, and will record what comes of it.
    kSettling,   // It is recorded that the outcome is not known; the tracker looks for the job.
    kOver,
  };

  // What the last mutation made of the outcome.
  struct Ended {
    std::string fine_tune_id;  // Empty if there is no job.
    bool unknown = false;
    absl::Status refusal;
  };
  using Step = void (Submission::*)();

  void Prepare();
  void OnPrepared(const Prepared& prepared, const absl::Status& status);
  void TellOfBudgets(const BudgetVerdict& verdict);
  void CountCost();
  void Look();
  void OnLooked(absl::Status status);
  void TryPost();
  void TryAgain();
  void OnOutcome(SubmitOutcome outcome);
  void RecordOutcome();
  void OnRecorded(const Ended& ended, const absl::Status& status);
  void Await();
  void Settle();
  void Finish(const absl::StatusOr<VersionPtr>& result);

  // A caller's time is up.
  void OnAnswerBy(uint64_t caller);
  void Show(uint64_t caller);
  void OnShown(uint64_t caller, const absl::Status& status);

  absl::StatusOr<VersionPtr> Find(const std::string& fine_tune_id) const;
  void After(absl::Duration delay, Step step);
  void Audit(const char* what, const absl::Status& status) const;

  // Constant after construction.
  const std::shared_ptr<SubmissionParts> parts_;
  const Key key_;
  const SpendingLimits limits_;
  const std::shared_ptr<const Spender> spender_;  // Null: without prices and budgets.
  const std::string fingerprint_;
  const pb::FineTune fine_tune_;
  const std::function<void(absl::AnyInvocable<void(absl::Status) &&> done)> look_;
  const TraceContext trace_;  // Of the call that began it.
  const std::shared_ptr<Sharer> sharer_;
  const std::shared_ptr<CreateNotes> notes_;  // Of the call that began it; may be null.
  const Moved moved_;

  Phase phase_ = Phase::kPreparing;
  SubmissionCallers callers_;
  record::Intent intent_;
  // What was heard of it while it was being prepared: may be newer than what was found then.
  std::optional<record::Intent> heard_;
  absl::Time post_time_;
  uint64_t post_read_ = 0;
  SubmitOutcome outcome_;
  Backoff tries_;
  Backoff records_;
};

}  // namespace finetune
