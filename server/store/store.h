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
  // The job is forgotten: it leaves the record, and `after` is only for those who watched it.
  bool forgotten = false;
};

// (caller, request_id).
using IntentKey = std::pair<std::string, std::string>;

// What is committed together, or not at all. It follows the point that the turn's Begin found: its
// changes have the revisions after that, without a gap.
struct StoreBatch {
  std::vector<StoredChange> changes;
  std::vector<record::Intent> put_intents;
  // Changes up to this revision need no longer be kept for resuming watchers.
  uint64_t forget_changes_through = 0;
  // Those up to this revision are gone already, as far as this process knows of this era.
  uint64_t forget_changes_after = 0;
  // Intents settled before this may go, and those that were refused before the second.
  absl::Time forget_intents_before = absl::InfinitePast();
  absl::Time forget_refusals_before = absl::InfinitePast();
  // Members whose time has run out; what they owned was taken over.
  std::vector<std::string> ended_members;
  // What is counted from now on, as the ledger before this batch has it; then what the batch
  // changes in the ledger and in all totals that are counted.
  std::vector<std::pair<TotalKey, int64_t>> new_totals;
  SpendingRows spending;
  // Of the ledger, what was submitted before this may go, and totals that ended before.
  absl::Time forget_spending_before = absl::InfinitePast();
  // Whoever commits this has seen commits that are no longer in the record, and restores what it can
  // with it: there may be more.
  bool has_lost = false;
  // What the record may lack is known by now: see StoreCaution.
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

// What a start needs.
struct StoreState {
  // Names this history. Made with the store; a resume token of another epoch does not fit.
  std::string epoch;
  Lineage lineage;
  StorePoint point;
  // In the order of FineTuneRecord.first_revision.
  std::vector<std::string> records;
  // What is kept for resuming watchers: without a gap up to the revision, oldest first.
  std::vector<StoredChange> changes;
  // Where several processes may share the record.
  std::optional<StoreClock> clock;
  // Random bytes, made with the store: see MakeMarker.
  std::string marker_key;
  // PREPARED and UNKNOWN ones.
  std::vector<record::Intent> unsettled_intents;
  // Not empty if the record is known to lack commits that were acknowledged: in one sentence, and
  // what to do. A submission whose request_id it does not know may have been made before.
  std::string lost;
};

// Who leads, and for which time: each take-over has a greater number. Both are compared, for a
// failover that loses a take-over may give its number out twice.
struct LeaderTerm {
  uint64_t number = 0;
  std::string holder;  // A member's id.

  bool operator==(const LeaderTerm&) const = default;
};

// What a turn may ask of the store beside what is in memory, so that it can be fetched with the
// turn's first question.
struct TurnNeeds {
  std::vector<IntentKey> intents;
  std::vector<std::string> spenders;  // Callers.
  // What only the leader may write, as long as this is its term.
  std::optional<LeaderTerm> term;
};

// Who shares the record.
struct StoreMembers {
  std::vector<std::string> live;
  // Their time has run out, and nobody has yet taken over what they own.
  std::vector<std::string> ended;
};

// The record may lack acknowledged commits: its server was replaced or restarted, and not every
// process that may have made some has committed since. Each restores what it knows of them with its
// next commit (StoreBatch.has_lost). Until then, a request_id that the record does not know may have
// been submitted all the same.
struct StoreCaution {
  // A list that began later than this, by the store's clock, shows what was submitted before.
  absl::Time until;
  // Whose commits are awaited.
  bool awaits_me = false;
  bool awaits_others = false;
};

// What others committed since the point that is known here: all of it, in order.
struct StoreNews {
  StorePoint point;
  std::optional<StoreCaution> caution;
  // Where several processes may share the record.
  std::optional<StoreClock> clock;
  std::optional<StoreMembers> members;
  // Set if eras began since.
  std::optional<Lineage> lineage;
  std::vector<StoredChange> changes;
  std::vector<record::Intent> intents;
  // Within a turn, and then it does not change until the turn ends; nullopt where one process has
  // the record to itself.
  std::optional<LeaderTerm> leader;
  // There is more than is told while others wait for the turn: Read it, then begin again. Begin has
  // ended the turn.
  bool is_behind = false;
  // The known point is not in this history, or too far back for the changes to be kept: whoever
  // asked has to load anew.
  bool must_load = false;
};

struct CommitOutcome {
  enum class Kind {
    // Durable.
    kWritten,
    // Nothing of it is there. A later commit may succeed without anything being reopened.
    kNotWritten,
    // Nobody knows, because the connection broke before the answer came, say. See Settle.
    kOpen,
  };
  Kind kind = Kind::kWritten;
  absl::Status why;  // OK if written; else UNAVAILABLE / STORE_UNAVAILABLE.

  static CommitOutcome Of(absl::Status status) {
    return {status.ok() ? Kind::kWritten : Kind::kNotWritten, std::move(status)};
  }
};

// A caller's submissions that made a job, or may have.
struct CreateCount {
  int64_t count = 0;
  absl::Time oldest = absl::InfiniteFuture();
};

// The record: what is committed here survives the process and the machine. Several processes may
// share one; then turns keep their commits apart.
//
//   news = Begin(known) ... take in the news, make a batch ... Commit(batch) or Abandon()
//
// Called from one thread at a time (the recorder's), but for Follow. Errors are UNAVAILABLE /
// STORE_UNAVAILABLE unless said otherwise, and may pass by themselves.
class Store {
 public:
  virtual ~Store() = default;

  // Whether other processes may write to the same record.
  virtual bool is_shared() const { return false; }
  Membership& membership() { return membership_; }
  const Membership& membership() const { return membership_; }

  // What it is, in OpenTelemetry's words for `db.system`.
  virtual std::string_view system() const = 0;

  // At the start, and when the news say so. DATA_LOSS, in one sentence that says what to do, if it
  // is damaged.
  virtual absl::StatusOr<StoreState> Load() = 0;

  // Takes the turn: nobody else commits until it has ended. After an error there is no turn.
  virtual absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds& needs) = 0;
  // Ends the turn.
  virtual CommitOutcome Commit(const StoreBatch& batch) = 0;
  // Ends a turn that writes nothing.
  virtual void Abandon() = 0;
  // After kOpen: whether the batch was written. What it answers is durable. Until it has answered,
  // Begin fails.
  virtual absl::StatusOr<bool> Settle() = 0;

  // Within a turn. An intent in any state.
  virtual absl::StatusOr<std::optional<record::Intent>> FindIntent(
      const std::string& caller, const std::string& request_id) = 0;
  // Within a turn. Intents of this caller made after `since`, but for those that made no job
  // (NOT_SUBMITTED, REFUSED).
  virtual absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) = 0;

  // Within a turn. In the order of `keys`; nullopt for one that is not counted yet.
  virtual absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) = 0;
  // Within a turn. The ledger's rows of these quarters, of one caller if it is given, after `after`
  // if that is given, in order: the first `limit`.
  struct SpendingQuery {
    Quarter start = 0;
    Quarter end = kForever;
    std::optional<std::string> caller;
    std::optional<SpendingKey> after;
    int64_t limit = std::numeric_limits<int64_t>::max();
  };
  virtual absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) = 0;

  // Whether the store can be written now, tried for real. Outside a turn.
  virtual absl::Status CheckWritable() = 0;

  // The news without taking the turn. Never called where nobody else commits.
  virtual absl::StatusOr<StoreNews> Read(const StorePoint& known) = 0;
  // `wake` is called, on a thread of the store's, whenever others may have committed; not after it
  // was replaced by null.
  virtual void Follow(std::function<void()> wake) = 0;

 private:
  Membership membership_;
};

}  // namespace finetune
