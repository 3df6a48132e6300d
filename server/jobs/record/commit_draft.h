#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/store/store.h"

namespace finetune {

// The intents that are not settled, in memory. Recorder's thread only.
class IntentTable {
 public:
  using Key = std::pair<std::string, std::string>;  // (caller, request_id).

  static Key KeyOf(const record::Intent& intent) { return {intent.caller(), intent.request_id()}; }
  static bool IsUnsettled(const record::Intent& intent) {
    return intent.state() == record::Intent::PREPARED || intent.state() == record::Intent::UNKNOWN;
  }

  // Keeps the intent, or forgets it if it is settled.
  void Put(const record::Intent& intent);
  void Erase(const Key& key);
  void Clear();
  const record::Intent* Find(const Key& key) const;
  const record::Intent* FindByMarker(std::string_view marker) const;
  const absl::btree_map<Key, record::Intent>& all() const { return intents_; }

 private:
  absl::btree_map<Key, record::Intent> intents_;
  absl::flat_hash_map<std::string, Key> by_marker_;
};

// What mutations of one batch see and put: two layers over what is committed, one of the mutations
// that went well and one of the mutation that runs. Recorder's thread only; the references outlive
// it.
class CommitDraft : public Draft {
 public:
  // Newer read_times of jobs whose reads said nothing else new.
  using ReadTimes = absl::flat_hash_map<std::string, absl::Time>;

  CommitDraft(const Catalog& catalog, Store& store, const IntentTable& unsettled,
              const ReadTimes& read_times, absl::Time now);

  std::optional<record::FineTuneRecord> Find(std::string_view id) override;
  std::optional<record::FineTuneRecord> FindUpstream(std::string_view upstream_id) override;
  void Put(record::FineTuneRecord record) override;
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override;
  std::optional<record::Intent> FindIntentByMarker(std::string_view marker) override;
  std::vector<record::Intent> UnsettledIntents() override;
  void PutIntent(record::Intent intent) override;
  void DeleteIntent(const std::string& caller, const std::string& request_id) override;
  absl::StatusOr<Spending> SpendingOf(const std::string& caller) override;
  absl::Time now() const override { return now_; }

  // Ends the mutation that ran: what it put joins the batch, or is forgotten if it failed. Its
  // status, unless it put what cannot be written.
  absl::Status EndMutation(absl::Status status);

  // What all mutations together want written, once the last one has ended.
  Batch TakeBatch();
  const std::vector<ChangePtr>& changes() const { return changes_; }
  const ReadTimes& newer_read_times() const { return newer_read_times_; }
  bool empty() const { return changes_.empty() && batch_intents_.empty(); }
  // How often mutations have put something that is written.
  size_t writes() const { return changes_.size() + intents_put_; }
  // Settles in `unsettled` what the batch says of intents.
  void ApplyIntents(IntentTable& unsettled) const;

 private:
  using Record = record::FineTuneRecord;
  using IntentKey = IntentTable::Key;
  // Null where the intent is deleted.
  using Intents = absl::btree_map<IntentKey, std::optional<record::Intent>>;
  // Ids by Segmind's names; whether the job still has the name is asked of the job.
  using UpstreamIds = absl::flat_hash_map<std::string, std::string>;

  // A job as its latest change leaves it. `bytes` is empty if that is not of this batch.
  struct Written {
    Record record;
    std::string bytes;
    VersionPtr version;
  };

  void Accept(Record record);
  void Write(Record record, std::optional<Written> base);
  std::optional<Written> BaseOf(const std::string& id) const;
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller);
  absl::StatusOr<bool> CountsInStore(const IntentKey& key);
  bool Counts(const record::Intent& intent) const;
  int64_t CountActive(const std::string& caller) const;
  // In this batch's layers; null if they say nothing of it.
  const std::optional<record::Intent>* FindLayered(const IntentKey& key) const;

  const Catalog& catalog_;
  Store& store_;
  const IntentTable& unsettled_;
  const ReadTimes& read_times_;
  const absl::Time now_;
  const uint64_t base_revision_;

  // The mutation that runs.
  absl::flat_hash_map<std::string, Record> own_records_;
  std::vector<std::string> own_order_;
  Intents own_intents_;
  UpstreamIds own_upstream_;
  absl::Status own_error_;

  // What the store said; it does not change while the batch is made.
  absl::flat_hash_map<std::string, CreateCount> stored_creates_;
  absl::btree_map<IntentKey, bool> counts_in_store_;

  // The mutations that went well.
  absl::flat_hash_map<std::string, Written> batch_records_;
  Intents batch_intents_;
  size_t intents_put_ = 0;
  UpstreamIds batch_upstream_;
  std::vector<StoredChange> stored_changes_;
  std::vector<ChangePtr> changes_;
  ReadTimes newer_read_times_;
};

}  // namespace finetune
