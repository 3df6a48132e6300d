#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/lineage.h"
#include "server/store/record.pb.h"
#include "server/store/store.h"

namespace finetune {

// What a record has only once.
struct RecordHead {
  std::string epoch;
  std::string marker_key;
  uint64_t seq = 0;
  uint64_t revision = 0;
  std::vector<Era> eras;  // Oldest first.
};

// A job's row.
struct StoredRecord {
  uint64_t first_revision = 0;
  uint64_t revision = 0;
  std::string id;
  std::string bytes;  // A serialised record::FineTuneRecord.
};

// A row of the ledger. Totals are not moved but counted anew from these.
using SpendingRow = SpendingRows::value_type;

template <typename Row>
using TakeRow = std::function<absl::Status(const Row&)>;

// Where a record is moved from. From Begin until this is destroyed nobody else can change the
// record. An error is one sentence. Not thread-safe.
class RecordSource {
 public:
  virtual ~RecordSource() = default;

  virtual std::string name() const = 0;
  virtual absl::StatusOr<RecordHead> Begin() = 0;
  // Where an earlier move that was not finished was under way to; empty if there was none.
  virtual std::string under_way_to() const = 0;
  // After Begin. From now on a gateway that starts here is refused until the move is finished, or
  // given up (`to` is empty).
  virtual absl::Status MarkUnderWay(const std::string& to) = 0;
  // Each calls `take` once for each row; an error of `take` ends it.
  virtual absl::Status ReadRecords(const TakeRow<StoredRecord>& take) = 0;
  virtual absl::Status ReadChanges(const TakeRow<StoredChange>& take) = 0;
  virtual absl::Status ReadIntents(const TakeRow<record::Intent>& take) = 0;
  virtual absl::Status ReadSpending(const TakeRow<SpendingRow>& take) = 0;
  // From now on a gateway that starts here is refused, and told where the record went.
  virtual absl::Status MarkMoved(const std::string& to) = 0;
};

// Where a record is moved to: a place that has none. After End all of it is there, before nothing.
// An error is one sentence. Not thread-safe.
class RecordTarget {
 public:
  virtual ~RecordTarget() = default;

  virtual std::string name() const = 0;
  // Whether it has that record already. Before Begin.
  virtual absl::StatusOr<bool> Has(const RecordHead& head) = 0;
  virtual absl::Status Begin(const RecordHead& head) = 0;
  virtual absl::Status Put(const StoredRecord& row) = 0;
  virtual absl::Status Put(const StoredChange& row) = 0;
  virtual absl::Status Put(const record::Intent& row) = 0;
  virtual absl::Status Put(const SpendingRow& row) = 0;
  virtual absl::Status End() = 0;
};

}  // namespace finetune
