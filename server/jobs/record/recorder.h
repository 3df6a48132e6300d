#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/trace.h"
#include "server/base/worker.h"
#include "server/jobs/record/catalog.h"
#include "server/store/store.h"

namespace finetune {

// Limits on submissions a day are about the last 24 hours, whenever the day began.
inline constexpr absl::Duration kSpendingWindow = absl::Hours(24);

// What a caller has spent: what limits on money are held against.
struct Spending {
  CreateCount creates;
  // Jobs that it created, or is creating, and that are not in a terminal state.
  int64_t active_jobs = 0;
};

// The records as a mutation sees them (what is committed, what earlier mutations of the same batch
// put, and its own puts) and what it wants written. Lives on the recorder's thread, for the call of
// one mutation.
class Draft {
 public:
  virtual ~Draft() = default;

  virtual std::optional<record::FineTuneRecord> Find(std::string_view id) = 0;
  virtual std::optional<record::FineTuneRecord> FindUpstream(std::string_view upstream_id) = 0;

  // Writes a job. The recorder sets revision, first_revision, etag and update_time. A record that
  // says nothing new but for read_time and observe_time is no change and is not written; its
  // read_time is remembered until the process ends.
  virtual void Put(record::FineTuneRecord record) = 0;

  // In any state. The store may fail to answer.
  virtual absl::StatusOr<std::optional<record::Intent>> FindIntent(
      const std::string& caller, const std::string& request_id) = 0;
  // Among the unsettled (PREPARED, UNKNOWN).
  virtual std::optional<record::Intent> FindIntentByMarker(std::string_view marker) = 0;
  virtual std::vector<record::Intent> UnsettledIntents() = 0;
  virtual void PutIntent(record::Intent intent) = 0;
  virtual void DeleteIntent(const std::string& caller, const std::string& request_id) = 0;

  // With what this batch adds to it: committing a new intent in the mutation that asked is to
  // reserve it. The store may fail to answer.
  virtual absl::StatusOr<Spending> SpendingOf(const std::string& caller) = 0;

  // The time of this batch.
  virtual absl::Time now() const = 0;
};

// Who is told of what was committed, after the catalog shows it, in revision order, on the
// recorder's thread: must not block.
class CommitListener {
 public:
  virtual ~CommitListener() = default;
  virtual void OnCommitted(absl::Span<const ChangePtr> changes) = 0;
};

// The only writer of the record. Mutations run one after another on its thread ("recorder"),
// several share one commit, and what they wrote becomes visible (catalog, then listeners, then
// `done`) only after the commit. Thread-safe.
class Recorder {
 public:
  // Reads and writes through the draft; an error writes nothing of it. May run more than once (when
  // the commit has to be made anew): it must set its outputs afresh each time.
  using Mutation = absl::AnyInvocable<absl::Status(Draft&)>;
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  Recorder(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);
  ~Recorder();

  // Loads the store into the catalog. Once, before the first Record.
  absl::Status Load();

  // Before the first Record. Listeners outlive the recorder's Stop.
  void AddListener(CommitListener* listener);

  // `done` runs exactly once on the recorder's thread: with the mutation's own error, with
  // UNAVAILABLE / STORE_UNAVAILABLE if it could not be committed, or with OK once it is visible.
  // CANCELLED after Stop, then on the caller's thread. The commit is a span of `trace`.
  void Record(Mutation mutation, Done done, const TraceContext& trace = {});

  // Finishes what is queued, then refuses. Idempotent.
  void Stop();

  // The latest commit's outcome, or a probe's: whether the store can be written.
  absl::Status store_status() const;
  // Whether a submission's outcome is not known, or awaited, by the latest commit. Without one a
  // read of Segmind that has no news has nothing to be recorded.
  bool has_unsettled() const;
  // Tries the store for real while it failed last; for submissions that must not start in vain, and
  // for recovery.
  void Probe(Done done);

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace finetune
