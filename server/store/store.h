#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/record.pb.h"

namespace finetune {

// One change of one job: the record after it and, unless it made the job, before it.
struct StoredChange {
  uint64_t revision = 0;
  absl::Time time;
  std::string fine_tune_id;
  std::string after;   // A serialised record::FineTuneRecord.
  std::string before;  // Likewise; empty if the change made the job.
};

// What is committed together, or not at all.
struct Batch {
  // The store's revision that the batch was made on: its changes have the revisions after it,
  // without a gap.
  uint64_t base_revision = 0;
  std::vector<StoredChange> changes;
  std::vector<record::Intent> put_intents;
  // (caller, request_id).
  std::vector<std::pair<std::string, std::string>> delete_intents;
  // Changes up to this revision need no longer be kept for resuming watchers.
  uint64_t forget_changes_through = 0;
  // Intents settled before this may go.
  absl::Time forget_intents_before = absl::InfinitePast();
};

// What a start needs.
struct StoreState {
  // Names this history. Made with the store; a resume token of another epoch does not fit.
  std::string epoch;
  uint64_t revision = 0;
  // In the order of FineTuneRecord.first_revision.
  std::vector<std::string> records;
  // What is kept for resuming watchers: without a gap up to `revision`, oldest first.
  std::vector<StoredChange> changes;
  // PREPARED and UNKNOWN ones.
  std::vector<record::Intent> unsettled_intents;
};

// A caller's submissions that made a job, or may have.
struct CreateCount {
  int64_t count = 0;
  absl::Time oldest = absl::InfiniteFuture();
};

// The record: what is committed here survives the process and the machine. Called from one thread
// at a time. Every failure to write is UNAVAILABLE / STORE_UNAVAILABLE; afterwards nothing of the
// batch is there, and a later Commit may succeed without anything being reopened by the caller.
class Store {
 public:
  virtual ~Store() = default;

  // What it is, in OpenTelemetry's words for `db.system`.
  virtual std::string_view system() const = 0;

  virtual absl::StatusOr<StoreState> Load() = 0;

  // Durable when it returns OK. ABORTED if `base_revision` is not the store's revision (another
  // replica was first): catch up and make the batch anew.
  virtual absl::Status Commit(const Batch& batch) = 0;

  // An intent in any state.
  virtual absl::StatusOr<std::optional<record::Intent>> FindIntent(
      const std::string& caller, const std::string& request_id) = 0;

  // Intents of this caller made after `since` that are not NOT_SUBMITTED.
  virtual absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) = 0;

  // Whether the store can be written now, tried for real.
  virtual absl::Status CheckWritable() = 0;
};

}  // namespace finetune
