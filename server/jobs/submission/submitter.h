#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/budget_check.h"
#include "server/jobs/submission/spending_limits.h"
#include "server/jobs/tracking/tracker.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// What a submission's callers are told beside the job. Written before they are answered.
struct CreateNotes {
  // Sentences about budgets that are spent, or nearly.
  std::vector<std::string> warnings;
};

// What a job would meet if it were submitted now.
struct Forecast {
  Spending spending;
  pb::FineTune job;  // With its labels and its cost.
  std::vector<BudgetUse> budgets;
  absl::Status refusal;  // By a label's rule, a limit or a budget.
};

// A checked CreateFineTuneRequest.
struct CreateCall {
  std::string caller;
  SpendingLimits limits;
  std::shared_ptr<const Spender> spender = nullptr;  // Null: without prices, budgets and rules.
  std::string request_id;                            // Made by the gateway if the caller sent none.
  pb::FineTune fine_tune;                            // Input fields only.
  // Checks, within some seconds, what only a new submission needs to have checked, such as the
  // dataset; a repeat does not. Its error is the refusal. May be empty.
  std::function<void(absl::AnyInvocable<void(absl::Status) &&> done)> look = nullptr;
  absl::Time deadline;
  TraceContext trace;
  std::shared_ptr<Sharer> sharer;                // Of the rate limit; null for the gateway's own.
  std::shared_ptr<CreateNotes> notes = nullptr;  // May be null.
};

class Submission;
struct SubmissionParts;

// Spends money, so it is exact: the intent is committed, then comes the POST, then the outcome is
// committed. One (caller, request_id) is at most one job at Segmind, whatever fails. Thread-safe;
// its work is done by one thread at a time: its own ("submitter") or, for short tasks, the one that
// brings them. What it is made with outlives its Stop.
class Submitter : public CommitListener {
 public:
  struct Options {
    // Whether a marker goes into the name that Segmind sees; without one an unknown outcome is
    // settled by data, prompt, model and time.
    bool markers = true;
    // Whether to refuse a job that costs more than the account is known to have left.
    bool require_credits = false;
  };
  using CreateDone = absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&>;

  Submitter(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
            Tracker& tracker, Clock& clock, Metrics& metrics);
  ~Submitter() override;

  // What the record says of submissions that others make, or find.
  void OnCommitted(absl::Span<const ChangePtr>) override {}
  void OnIntents(absl::Span<const record::Intent> intents) override;
  void OnReloaded() override;

  // Makes what the last process left open (PREPARED) unknown, and visible as such. Before the first
  // Create.
  absl::Status Recover();

  // The job: accepted, or what it is by now if the request_id came before, or SUBMIT_UNKNOWN
  // shortly before the deadline if the outcome is not known by then. Errors: the refusal;
  // REQUEST_ID_REUSED; CLIENT_QUOTA_EXCEEDED; STORE_UNAVAILABLE and rate limits before anything was
  // sent.
  void Create(CreateCall call, CreateDone done);

  // What a caller has spent by now, and what a job of its would meet. STORE_UNAVAILABLE.
  struct Prospect {
    std::string caller;
    SpendingLimits limits;  // Without any, `spending` is not counted.
    std::shared_ptr<const Spender> spender = nullptr;
    pb::FineTune fine_tune = {};
  };
  void Foresee(Prospect prospect, absl::AnyInvocable<void(absl::StatusOr<Forecast>) &&> done);

  // Tells which callers may spend from now on, so that their metrics exist before anything is
  // counted.
  void KnowSpenders(const std::vector<std::shared_ptr<const Spender>>& spenders);

  // Refuses new calls. Those under way are answered by `answer_by`, whatever their deadlines: with
  // SUBMIT_UNKNOWN if the POST is out.
  void BeginDrain(absl::Time answer_by);

  // The same at once; submissions under way are waited for until `deadline`, then left to the next
  // start. Idempotent.
  void Stop(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Key = std::pair<std::string, std::string>;  // (caller, request_id).

  void Take(CreateCall call, CreateDone done) ABSL_LOCKS_EXCLUDED(mu_);
  void OnMoved(const Key& key) ABSL_LOCKS_EXCLUDED(mu_);
  void OnSettled(const std::string& fine_tune_id);
  std::vector<std::shared_ptr<Submission>> All() const;
  // Makes what is still open unknown at once, so that others need not wait until this process
  // counts as gone.
  void Release();
  void DrainAll(absl::Time answer_by);
  void NoteBusy() ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<SubmissionParts> parts_;

  // Submitter's thread only.
  std::map<Key, std::shared_ptr<Submission>> submissions_;

  Mutex mu_;
  CondVar idle_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // Something is being done for a submission.
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
