#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "server/base/backoff.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"
#include "server/jobs/submission/submitter.h"

namespace finetune {

// SHA-256 over what a caller asks for: equal for equal requests.
std::string FingerprintOf(const pb::FineTune& fine_tune);

// The Submitter itself. All but Post, Drain and Recover runs on one thread at a time, its own
// ("submitter") or whoever brings it what is short; callbacks of others come back through Post, and
// are dropped once it has stopped.
//
// All calls with one (caller, request_id) share a Flight, from before the intent is recorded until
// its outcome is durable and known: that is what keeps a second POST from being made.
class Submitter::Core : public std::enable_shared_from_this<Core> {
 public:
  using CreateDone = absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&>;

  Core(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
       Tracker& tracker, Clock& clock, Metrics& metrics);

  // False, with the task dropped, once drained. Any thread.
  bool Post(absl::AnyInvocable<void() &&> task);
  // For what is short (Worker).
  bool RunOrPost(absl::AnyInvocable<void() &&> task);
  // Blocks. Any thread but the submitter's.
  absl::Status Recover();
  void Drain(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  void Create(CreateCall call, CreateDone done);
  void OnSettled(const std::string& fine_tune_id);
  // Any thread.
  void CountSpending(const std::string& caller,
                     absl::AnyInvocable<void(absl::StatusOr<Spending>) &&> done);

 private:
  using Key = std::pair<std::string, std::string>;  // (caller, request_id).

  struct Waiter {
    CreateDone done;
    absl::Time answer_by;  // With whatever is known by then.
    absl::Time start_by;   // Nothing is sent for this call after that.
    Clock::TimerId timer = Clock::kNoTimer;
  };

  enum class Phase {
    kPreparing,  // The intent is being recorded; nothing was sent.
    kPosting,    // The POST is out.
    kPausing,    // Nothing was sent: another try follows.
    kEnding,     // The outcome is known and being recorded.
    kSettling,   // It is recorded that the outcome is not known; the tracker looks for the job.
  };

  struct Flight {
    Flight(Key k, std::string print, CreateCall call)
        : key(std::move(k)),
          limits(call.limits),
          fingerprint(std::move(print)),
          fine_tune(std::move(call.fine_tune)),
          trace(call.trace),
          sharer(call.sharer),
          tries(absl::Milliseconds(100), absl::Seconds(5)),
          records(absl::Milliseconds(100), absl::Seconds(5)) {}

    const Key key;
    const SpendingLimits limits;
    const std::string fingerprint;
    const pb::FineTune fine_tune;
    const TraceContext trace;  // Of the call that began it, as is the sharer.
    const std::shared_ptr<Sharer> sharer;
    Phase phase = Phase::kPreparing;
    record::Intent intent;
    std::map<uint64_t, Waiter> waiters;
    absl::Time post_time;
    SubmitOutcome outcome;
    Backoff tries;
    Backoff records;
  };
  using FlightPtr = std::shared_ptr<Flight>;

  // What the first mutation found.
  struct Prepared {
    record::Intent intent;
    bool is_new = false;
  };
  // What the last mutation made of the outcome.
  struct Ended {
    std::string fine_tune_id;  // Empty if there is no job.
    bool unknown = false;
    absl::Status refusal;
  };

  // submitter.cc
  void AddWaiter(Flight& flight, absl::Time deadline, CreateDone done);
  void OnAnswerBy(const FlightPtr& flight, uint64_t waiter);
  void Show(const FlightPtr& flight, uint64_t waiter);
  void OnShown(const FlightPtr& flight, uint64_t waiter, const absl::Status& status);
  void Answer(Flight& flight, uint64_t waiter, absl::StatusOr<VersionPtr> result);
  void AnswerAll(Flight& flight, const absl::StatusOr<VersionPtr>& result);
  void Forget(const FlightPtr& flight) ABSL_LOCKS_EXCLUDED(mu_);
  void BeginDrain();
  void EndDrain();
  void NoteBusy() ABSL_LOCKS_EXCLUDED(mu_);

  // submitter_flight.cc: a flight's way.
  void Prepare(const FlightPtr& flight);
  void OnPrepared(const FlightPtr& flight, const Prepared& prepared, const absl::Status& status);
  void TryPost(const FlightPtr& flight);
  void OnOutcome(const FlightPtr& flight, SubmitOutcome outcome);
  void RecordOutcome(const FlightPtr& flight);
  void OnRecorded(const FlightPtr& flight, const Ended& ended, const absl::Status& status);
  void Settle(const FlightPtr& flight);
  void Finish(const FlightPtr& flight, const std::string& fine_tune_id);
  void After(absl::Duration delay, const FlightPtr& flight, void (Core::*step)(const FlightPtr&));
  absl::Time StartBy(const Flight& flight) const;
  absl::StatusOr<VersionPtr> Find(const std::string& fine_tune_id) const;
  void Audit(const Flight& flight, const char* what, const absl::Status& status);

  // Constant after construction.
  const Options options_;
  SegmindClient& segmind_;
  Recorder& recorder_;
  Catalog& catalog_;
  Tracker& tracker_;
  Clock& clock_;
  prometheus::Counter& accepted_;
  prometheus::Counter& refused_;
  prometheus::Counter& not_sent_;
  prometheus::Counter& unknown_;
  prometheus::Counter& repeated_;

  // Submitter's thread only.
  std::map<Key, FlightPtr> flights_;
  uint64_t last_waiter_ = 0;
  bool draining_ = false;

  Mutex mu_;
  CondVar idle_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;  // A flight that is not settling is under way.

  Worker worker_;
};

}  // namespace finetune
