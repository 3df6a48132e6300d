#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/ledger.h"
#include "server/store/lineage.h"
#include "server/store/membership.h"
#include "server/store/record.pb.h"

namespace finetune {

// One change of one job: the record after it and, unless it made the job, before it.
struct StoredChange {
  uint64_t revision = 0;
  absl::Time time;
  std::string fine_tune_id;
  std::string after;   // A serialised record::FineTuneRecord.
  std::string before;  // Likewise; empty if the change made the job.
  // The job is forgotten: it leaves the record, and `after` is only for its watchers.
  bool forgotten = false;
};

// (caller, request_id).
using IntentKey = std::pair<std::string, std::string>;

// What is committed together, or not at all. It follows the point that Begin found: its changes
// have the revisions after that one, without a gap.
struct StoreBatch {
  std::vector<StoredChange> changes;
  std::vector<record::Intent> put_intents;
  // Changes up to this revision need no longer be kept for resuming watchers.
  uint64_t forget_changes_through = 0;
  // Those up to this revision are gone already, as far as this process knows in this era.
  uint64_t forget_changes_after = 0;
  // Intents settled before the first time may go, and those refused before the second.
  absl::Time forget_intents_before = absl::InfinitePast();
  absl::Time forget_refusals_before = absl::InfinitePast();
  // Members whose time has run out; what they owned was taken over.
  std::vector<std::string> ended_members;
  // Totals to be counted from now on, with their amounts before this batch.
  std::vector<std::pair<TotalKey, int64_t>> new_totals;
  // What the batch changes in the ledger, and in all totals that are counted.
  SpendingRows spending;
  // Rows of the ledger for jobs submitted before this may go, and totals that ended before it.
  absl::Time forget_spending_before = absl::InfinitePast();
  // The committing process has seen commits that are no longer in the record. This batch restores
  // what it can of them; there may be more.
  bool has_lost = false;
  // What the record may have lacked is known by now: see StoreCaution.
  bool ends_caution = false;
};

// A moment of the record: after `seq` commits that made `revision` changes, in this era.
struct StorePoint {
  uint64_t era = 0;
  uint64_t seq = 0;
  uint64_t revision = 0;

  bool operator==(const StorePoint&) const = default;
};

// A look at the database's clock: it showed `time` between two moments of this process's steady
// one.
struct StoreClock {
  absl::Time time;
  absl::Time asked;
  absl::Time answered;
};

// All that a start needs to know.
struct StoreState {
  // Names this history. Made with the store; a resume token of another epoch is not valid here.
  std::string epoch;
  Lineage lineage;
  StorePoint point;
  // In the order of FineTuneRecord.first_revision.
  std::vector<std::string> records;
  // What is kept for resuming watchers: without a gap up to the revision, oldest first.
  std::vector<StoredChange> changes;
  // Set if several processes may share the record.
  std::optional<StoreClock> clock;
  // Random bytes, made with the store: see MakeMarker.
  std::string marker_key;
  // PREPARED and UNKNOWN ones.
  std::vector<record::Intent> unsettled_intents;
  // Not empty if the record is known to lack commits that were acknowledged: one sentence that says
  // so, and what to do. A submission whose request_id it does not know may have been made before.
  std::string lost;
};

// Who leads, and in which term: each take-over has a greater number. Compare both, because a
// failover that loses a take-over may give its number out twice.
struct LeaderTerm {
  uint64_t number = 0;
  std::string holder;  // A member's id.

  bool operator==(const LeaderTerm&) const = default;
};

// What a turn may need from the store in addition to what is in memory, so that it can be fetched
// with the turn's first question.
struct TurnNeeds {
  std::vector<IntentKey> intents;
  std::vector<std::string> spenders;  // Callers.
  // Set if only the leader may write this, in this term.
  std::optional<LeaderTerm> term;
};

// The processes that share the record, by the names under which they own submissions.
struct StoreMembers {
  std::vector<std::string> live;
  // Those whose time has run out, but whose submissions nobody has taken over yet.
  std::vector<std::string> ended;
};

// The record may lack acknowledged commits: its server was replaced or restarted, and not every
// process that may have made some has committed since. With its next commit each process restores
// what it knows of them (StoreBatch.has_lost). Until then, a request_id that the record does not
// know may have been submitted all the same.
struct StoreCaution {
  // A list that begins later than this, by the store's clock, shows all that was submitted before.
  absl::Time until;
  // Whether a commit of this process is awaited, and whether one of others is.
  bool awaits_me = false;
  bool awaits_others = false;
};

// What others committed since the point that is known here: all of it, in order.
struct StoreNews {
  StorePoint point;
  std::optional<StoreCaution> caution;
  // Set if several processes may share the record.
  std::optional<StoreClock> clock;
  std::optional<StoreMembers> members;
  // Set if eras began since.
  std::optional<Lineage> lineage;
  std::vector<StoredChange> changes;
  std::vector<record::Intent> intents;
  // Set within a turn, and then constant until the turn ends; nullopt if one process has the record
  // to itself.
  std::optional<LeaderTerm> leader;
  // There is more news than should be told while others wait for the turn, and Begin has ended the
  // turn. Call Read until there is no more, then Begin again.
  bool is_behind = false;
  // The known point is not in this history, or so far back that changes after it are no longer
  // kept: call Load.
  bool must_load = false;
};

// How a commit ended.
struct CommitOutcome {
  enum class Kind {
    // The batch is durable.
    kWritten,
    // Nothing of it was written. A later commit may succeed without anything being reopened.
    kNotWritten,
    // Not known, for instance because the connection broke before the answer came. See Settle.
    kOpen,
  };
  Kind kind = Kind::kWritten;
  absl::Status why;  // OK if written; else UNAVAILABLE / STORE_UNAVAILABLE.

  static CommitOutcome Of(absl::Status status) {
    return {status.ok() ? Kind::kWritten : Kind::kNotWritten, std::move(status)};
  }
};

// A caller's submissions that made a job, or may have made one.
struct CreateCount {
  int64_t count = 0;
  absl::Time oldest = absl::InfiniteFuture();
};

// The record: what is committed here survives the process and the machine. Several processes may
// share one record; they then take turns to commit.
//
//   news = Begin(known) ... take in the news, make a batch ... Commit(batch) or Abandon()
//
// Called from one thread at a time (the recorder's), except for Follow. Outlives the recorder.
// Errors are UNAVAILABLE / STORE_UNAVAILABLE unless said otherwise, and may pass by themselves.
class Store {
 public:
  virtual ~Store() = default;

  // Whether other processes may write to the same record.
  virtual bool is_shared() const { return false; }
  Membership& membership() { return membership_; }
  const Membership& membership() const { return membership_; }

  // What kind of store it is, in OpenTelemetry's words for `db.system`.
  virtual std::string_view system() const = 0;

  // Call it at the start, and when the news say so. DATA_LOSS, in one sentence that says what to
  // do, if the record is damaged.
  virtual absl::StatusOr<StoreState> Load() = 0;

  // Takes the turn: nobody else commits until it has ended. After an error there is no turn.
  virtual absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds& needs) = 0;
  // Ends the turn.
  virtual CommitOutcome Commit(const StoreBatch& batch) = 0;
  // Ends a turn that writes nothing.
  virtual void Abandon() = 0;
  // After kOpen: whether the batch was written. The answer is final. Begin fails until there is
  // one.
  virtual absl::StatusOr<bool> Settle() = 0;

  // Within a turn: the intent, in whatever state.
  virtual absl::StatusOr<std::optional<record::Intent>> FindIntent(
      const std::string& caller, const std::string& request_id) = 0;
  // Within a turn: intents of this caller made after `since`, except those that made no job
  // (NOT_SUBMITTED, REFUSED).
  virtual absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) = 0;

  // Within a turn: totals in the order of `keys`; nullopt for one that is not counted yet.
  virtual absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) = 0;
  // Within a turn: the first `limit` rows of the ledger, in order, for these quarters, for `caller`
  // if it is given, and after `after` if that is given.
  struct SpendingQuery {
    Quarter start = 0;
    Quarter end = kForever;
    std::optional<std::string> caller;
    std::optional<SpendingKey> after;
    int64_t limit = std::numeric_limits<int64_t>::max();
  };
  virtual absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) = 0;

  // Whether the store can be written now, found out by writing. Outside a turn.
  virtual absl::Status CheckWritable() = 0;

  // The news without taking the turn. Never called where nobody else commits.
  virtual absl::StatusOr<StoreNews> Read(const StorePoint& known) = 0;
  // Calls `wake`, on a thread of the store, whenever others may have committed, until it is
  // replaced by null.
  virtual void Follow(std::function<void()> wake) = 0;

 private:
  Membership membership_;
};

}  // namespace finetune
