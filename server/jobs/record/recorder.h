#pragma once

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/trace.h"
#include "server/base/worker.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/commit_draft.h"
#include "server/jobs/record/draft.h"
#include "server/jobs/record/forgetting.h"
#include "server/jobs/record/intent_table.h"
#include "server/jobs/record/lost_commits.h"
#include "server/store/store.h"

namespace finetune {

// The only writer of the record in this process. Mutations run one after another on its thread
// ("recorder"); several share one commit, and what they wrote becomes visible (catalog, then
// listeners, then `done`) only after the commit. If other processes write to the same record, what
// they commit becomes visible in the same way, in the order of all commits. Thread-safe; owned by
// the gateway.
class Recorder {
 public:
  struct Options {
    // Jobs that were not made through this gateway are forgotten once Segmind has not listed them
    // for this long.
    absl::Duration forget_lost_after = absl::InfiniteDuration();
    // How long callers of a commit wait while its outcome is not known, and how often to ask for
    // it.
    absl::Duration open_patience = absl::Seconds(2);
    absl::Duration ask_again_after = absl::Milliseconds(50);
  };

  // Reads and writes through the draft; an error writes nothing of it.
  using Mutation = absl::AnyInvocable<absl::Status(Draft&)>;
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  Recorder(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);
  Recorder(const Options& options, Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);
  ~Recorder();

  // Loads the store into the catalog. Once, before the first Record.
  absl::Status Load();

  // Whether other processes may write to the record.
  bool is_shared() const { return store_.is_shared(); }

  // Hears of what is committed from now on. Listeners outlive the recorder's Stop.
  void AddListener(CommitListener* listener) ABSL_LOCKS_EXCLUDED(mu_);

  // `done` runs exactly once on the recorder's thread: with the mutation's own error, with
  // UNAVAILABLE / STORE_UNAVAILABLE if it could not be committed (or if nobody knows whether it
  // was: then it may become visible later), with ABORTED, without having been run, if the term in
  // `needs` is over, or with OK once it is visible. CANCELLED after Stop, then on the caller's
  // thread. The commit is a span of `trace`; `needs` is what the mutation is going to ask the
  // store.
  void Record(Mutation mutation, Done done, const TraceContext& trace = {}, TurnNeeds needs = {})
      ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `done` once everything committed before this call, by any process, is visible: on the
  // recorder's thread, or at once if no other process commits. Calls that come together share one
  // question. UNAVAILABLE / STORE_UNAVAILABLE if the store cannot be asked; CANCELLED after Stop.
  void CatchUp(Done done) ABSL_LOCKS_EXCLUDED(mu_);

  // Finishes what is queued, then refuses. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // The latest commit's outcome, or a probe's: whether the store can be written.
  absl::Status store_status() const ABSL_LOCKS_EXCLUDED(mu_);
  // The name under which this process owns what it submits, and whether it still counts.
  const Membership& membership() const { return store_.membership(); }
  // Whether, as of the latest commit, the outcome of any submission is unknown or awaited. If not,
  // a read of Segmind without news has nothing to record.
  bool has_unsettled() const { return has_unsettled_; }
  // If the store failed last, tries to write to it: for submissions that must not start in vain,
  // and for recovery.
  void Probe(Done done) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Item {
    Mutation mutation;
    Done done;
    TraceContext trace;
    TurnNeeds needs;
    bool wrote = false;
    absl::Status result;
  };

  void RunQueue() ABSL_LOCKS_EXCLUDED(mu_);
  // Runs the items' mutations and commits what they want written. Not OK if that failed for all of
  // them together.
  absl::Status RunTurn(std::vector<Item>& items) ABSL_LOCKS_EXCLUDED(mu_);
  // Who leads during it, where that matters.
  absl::StatusOr<std::optional<LeaderTerm>> BeginTurn(const std::vector<Item>& items)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the turn and, in as many steps as need be, what others committed until then.
  absl::StatusOr<std::optional<LeaderTerm>> BeginUpToDate(const TurnNeeds& needs);
  absl::Status Commit(CommitDraft& draft, const std::vector<Item>& items) ABSL_LOCKS_EXCLUDED(mu_);
  // After a commit whose outcome is not known.
  absl::Status Settle(const absl::Status& why);
  absl::Status AskIfOpen();
  void TraceCommit(const std::vector<Item>& items, absl::Time start, absl::Time end,
                   const absl::Status& status) const;
  // Takes over what members owned whose time has run out.
  void SettleOwnerless(CommitDraft& draft);
  void FollowStore() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status ReadNews();
  // Has others' commits looked for; `done`, if any, hears when that was done. Not after Stop.
  void PostFollow(Done done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Shows what others committed.
  absl::Status TakeIn(const StoreNews& news);
  // Shows what is there, whatever came between.
  absl::Status Reload();
  // Whether others wait for a commit of this process, whatever is in it.
  bool IsAwaited() const;
  absl::Status TakeState(const StoreState& state);
  void Show(const std::vector<ChangePtr>& changes);
  void ShowIntents(const std::vector<record::Intent>& intents);
  void TellOfIntents(const std::vector<record::Intent>& intents) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<CommitListener*> Listeners() const ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return listeners_;
  }
  void SetStoreStatus(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const Options options_;
  Store& store_;
  Catalog& catalog_;
  Clock& clock_;
  prometheus::Counter& changes_total_;
  prometheus::Histogram& commit_seconds_;
  prometheus::Counter& store_errors_total_;

  // Recorder's thread only, after Load.
  StorePoint point_;   // What is shown.
  bool open_ = false;  // The last commit's outcome is still not known.
  IntentTable unsettled_;
  CommitDraft::Reads reads_;
  std::string marker_key_;
  std::string owner_;
  // As of the latest news.
  std::optional<StoreMembers> members_;
  LostCommits lost_;
  Forgetting forgetting_;

  // Written by the recorder's thread, as unsettled_ is.
  std::atomic<bool> has_unsettled_{false};

  mutable Mutex mu_;
  // Guarded by mu_.
  std::deque<Item> queue_ ABSL_GUARDED_BY(mu_);
  std::vector<CommitListener*> listeners_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool following_ ABSL_GUARDED_BY(mu_) = false;         // A FollowStore is queued.
  std::vector<Done> catching_up_ ABSL_GUARDED_BY(mu_);  // For whom.
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status store_status_ ABSL_GUARDED_BY(mu_);

  Worker worker_;
};

}  // namespace finetune
