#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/jobs/record/version_change.h"
#include "server/store/store.h"

namespace finetune {

// Limits on submissions per day apply to the last 24 hours, not to a calendar day.
inline constexpr absl::Duration kSpendingWindow = absl::Hours(24);

// What a caller has spent: limits on money are checked against it.
struct Spending {
  CreateCount creates;
  // Jobs that it created, or is creating, and that are not in a terminal state.
  int64_t active_jobs = 0;
};

// The records as a mutation sees them (what is committed, what earlier mutations of the same commit
// put, and its own puts) and what it wants written. Lives on the recorder's thread, for the call of
// one mutation.
class Draft {
 public:
  virtual ~Draft() = default;

  virtual std::optional<record::FineTuneRecord> Find(std::string_view id) = 0;
  virtual std::optional<record::FineTuneRecord> FindUpstream(std::string_view upstream_id) = 0;

  // Writes a job. The recorder sets revision, first_revision, etag and update_time. A record that
  // differs only in the read that it rests on is no change and is not written; the number of that
  // read is remembered until the process ends.
  virtual void Put(record::FineTuneRecord record) = 0;
  // Takes a job out of the record. Its watchers are told that it left.
  virtual void Forget(std::string_view id) = 0;

  // In any state except REFUSED, which counts as none. The store may fail to answer.
  virtual absl::StatusOr<std::optional<record::Intent>> FindIntent(
      const std::string& caller, const std::string& request_id) = 0;
  // Among the unsettled (PREPARED, UNKNOWN).
  virtual std::optional<record::Intent> FindIntentByMarker(std::string_view marker) = 0;
  virtual std::vector<record::Intent> UnsettledIntents() = 0;
  // A job with this marker that no submission in the record made; and the one that a submission
  // made, or was to make.
  virtual std::optional<record::FineTuneRecord> FindForeignByMarker(std::string_view marker) = 0;
  virtual std::optional<record::FineTuneRecord> FindSubmittedByMarker(std::string_view marker) = 0;
  virtual void PutIntent(record::Intent intent) = 0;
  // Ends an intent whose job nobody has seen: it becomes REFUSED.
  virtual void DeleteIntent(const std::string& caller, const std::string& request_id) = 0;

  // Includes what this commit adds to it, so a mutation that asks and then puts a new intent has
  // reserved it. The store may fail to answer.
  virtual absl::StatusOr<Spending> SpendingOf(const std::string& caller) = 0;

  // What budgets count, in the order of `keys`, including what earlier mutations of this commit add
  // but not what this one has put. A mutation that asks and then puts a new intent has reserved it.
  // The store may fail to answer.
  virtual absl::StatusOr<std::vector<int64_t>> TotalsOf(const std::vector<TotalKey>& keys) = 0;
  // The ledger as it is committed. The store may fail to answer.
  virtual absl::StatusOr<SpendingRows> ReadSpending(const Store::SpendingQuery& query) = 0;

  // The time of day of this commit, to be stored and shown, by the clock that all processes with
  // this record use.
  virtual absl::Time now() const = 0;
  // The name under which this process owns what it submits now (Membership).
  virtual const std::string& owner() const = 0;
  // The record's own key for MakeMarker.
  virtual const std::string& marker_key() const = 0;
};

// Hears what was committed, after the catalog shows it, in revision order. Called on the recorder's
// thread, so it must not block.
class CommitListener {
 public:
  virtual ~CommitListener() = default;
  virtual void OnCommitted(absl::Span<const ChangePtr> changes) = 0;
  // Submissions that changed in the same commits, each as it is now; they come after the
  // changes.
  virtual void OnIntents(absl::Span<const record::Intent>) {}
  // The catalog is filled anew between these two calls, because the changes in between are no
  // longer kept: whoever follows changes must begin anew.
  virtual void OnReloading() {}
  virtual void OnReloaded() {}
};

}  // namespace finetune
